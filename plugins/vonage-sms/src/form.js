// Forms, in both directions. Source: the URL standard, `application/x-www-form-urlencoded`.

/** A form of these fields. */
export function written(fields) {
  return fields.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&');
}

/** The fields of a form, or of the query of a URL; null where it is none. */
export function read(form) {
  const decoded = (part) => decodeURIComponent(part.replaceAll('+', ' '));
  const fields = new Map();
  try {
    for (const field of form.split('&')) {
      if (field === '') continue;
      const at = field.indexOf('=');
      const [name, value] = at < 0 ? [field, ''] : [field.slice(0, at), field.slice(at + 1)];
      fields.set(decoded(name), decoded(value));
    }
  } catch {
    return null;
  }
  return fields;
}

//! Which of a template's languages a message is in.

/// The language of the template that somebody reads best whose messages are in `locale`, a BCP 47 tag: the same, else
/// another of the same language, else the first.
pub(crate) fn best<'a>(locale: &str, languages: &'a [String]) -> &'a str {
    let (wanted, base) = (plain(locale), base(locale));
    let same = languages.iter().find(|language| plain(language) == wanted);
    let alone = || languages.iter().find(|language| plain(language) == base);
    let kin = || languages.iter().find(|language| self::base(language) == base);
    same.or_else(alone).or_else(kin).or_else(|| languages.first()).map_or("en_US", String::as_str)
}

/// Meta writes `pt_BR` what BCP 47 writes `pt-BR`.
fn plain(tag: &str) -> String {
    tag.replace('-', "_").to_ascii_lowercase()
}

fn base(tag: &str) -> String {
    plain(tag).split('_').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_language_that_the_template_has() {
        let languages = ["en_US", "en_GB", "pt_BR", "pt", "zh_CN"].map(str::to_owned);
        for (locale, found) in [
            ("en-GB", "en_GB"),
            ("en", "en_US"),
            ("pt-BR", "pt_BR"),
            ("pt-PT", "pt"),
            ("zh-Hans-CN", "zh_CN"),
            ("de", "en_US"),
        ] {
            assert_eq!(best(locale, &languages), found, "{locale}");
        }
    }
}

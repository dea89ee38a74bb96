//! The reference of the contract, made from the WIT itself, for whoever writes plugins.

use std::fmt::Write as _;

use wit_parser::{Docs, Function, Interface, Resolve, Type, TypeDef, TypeDefKind, WorldItem};

/// The contract, as it is compiled in.
const WIT: &str = include_str!("../../../plugins/wit/channel.wit");

/// Every world, interface, function and type of the contract as Markdown, with what it says of each.
pub fn reference() -> String {
    let mut resolve = Resolve::default();
    let package =
        resolve.push_source("channel.wit", WIT).expect("the contract is WIT: our own plugins are built for it");
    let package = &resolve.packages[package];
    let mut page = format!(
        "# The contract `{}`\n\nMade from [`plugins/wit/channel.wit`](../plugins/wit/channel.wit) by `wotp plugin contract`; \
         change that one.\n\n{}\n\n## Worlds\n\n",
        package.name,
        text(&package.docs)
    );
    for world in package.worlds.values() {
        let world = &resolve.worlds[*world];
        let names = |items: Vec<&WorldItem>| {
            let name = |item: &WorldItem| match item {
                WorldItem::Interface { id, .. } => resolve.interfaces[*id].name.clone(),
                WorldItem::Function(function) => Some(function.name.clone()),
                WorldItem::Type { .. } => None,
            };
            let all: Vec<_> = items.into_iter().filter_map(name).map(|name| format!("[`{name}`](#{name})")).collect();
            if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
        };
        let (imports, exports) = (names(world.imports.values().collect()), names(world.exports.values().collect()));
        let _ = write!(
            page,
            "### World `{}`\n\n{}\n\nIt is given {imports}, and gives {exports}.\n\n",
            world.name,
            text(&world.docs)
        );
    }
    page.push_str("## Interfaces\n\n");
    for interface in package.interfaces.values() {
        write_interface(&mut page, &resolve, &resolve.interfaces[*interface]);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn write_interface(page: &mut String, resolve: &Resolve, interface: &Interface) {
    let name = interface.name.as_deref().unwrap_or_default();
    let _ = write!(page, "### {name}\n\n{}\n\n", text(&interface.docs));
    for function in interface.functions.values() {
        let _ = write!(page, "#### `{}`\n\n{}\n\n", signature(resolve, function), text(&function.docs));
    }
    for id in interface.types.values() {
        let defined = &resolve.types[*id];
        // What another interface defines is told there.
        if !matches!(defined.kind, TypeDefKind::Type(_)) {
            write_type(page, resolve, defined);
        }
    }
}

fn write_type(page: &mut String, resolve: &Resolve, defined: &TypeDef) {
    let name = defined.name.as_deref().unwrap_or_default();
    let _ = write!(page, "#### {} `{name}`\n\n{}\n\n", defined.kind.as_str(), text(&defined.docs));
    let row = |name: &str, of: Option<&Type>, docs: &Docs| {
        let of = of.map(|of| format!("`{}`", spelled(resolve, of))).unwrap_or_default();
        format!("| `{name}` | {of} | {} |\n", text(docs).replace('\n', " "))
    };
    let rows: String = match &defined.kind {
        TypeDefKind::Record(record) => {
            record.fields.iter().map(|field| row(&field.name, Some(&field.ty), &field.docs)).collect()
        }
        TypeDefKind::Variant(variant) => {
            variant.cases.iter().map(|case| row(&case.name, case.ty.as_ref(), &case.docs)).collect()
        }
        TypeDefKind::Enum(all) => all.cases.iter().map(|case| row(&case.name, None, &case.docs)).collect(),
        TypeDefKind::Flags(all) => all.flags.iter().map(|flag| row(&flag.name, None, &flag.docs)).collect(),
        _ => return,
    };
    let _ = write!(page, "| name | type | what it is |\n|---|---|---|\n{rows}\n");
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameters: Vec<_> =
        function.params.iter().map(|one| format!("{}: {}", one.name, spelled(resolve, &one.ty))).collect();
    let result = function.result.as_ref().map(|of| format!(" -> {}", spelled(resolve, of))).unwrap_or_default();
    format!("{}: func({}){result}", function.name, parameters.join(", "))
}

/// A type as WIT writes it.
fn spelled(resolve: &Resolve, of: &Type) -> String {
    let id = match of {
        Type::Bool => return "bool".to_owned(),
        Type::U8 => return "u8".to_owned(),
        Type::U16 => return "u16".to_owned(),
        Type::U32 => return "u32".to_owned(),
        Type::S32 => return "s32".to_owned(),
        Type::F64 => return "f64".to_owned(),
        Type::String => return "string".to_owned(),
        Type::Id(id) => *id,
        other => return format!("{other:?}").to_lowercase(),
    };
    let defined = &resolve.types[id];
    if let Some(name) = &defined.name {
        return name.clone();
    }
    let or_none = |of: &Option<Type>| of.as_ref().map_or("_".to_owned(), |of| spelled(resolve, of));
    match &defined.kind {
        TypeDefKind::List(of) => format!("list<{}>", spelled(resolve, of)),
        TypeDefKind::Option(of) => format!("option<{}>", spelled(resolve, of)),
        TypeDefKind::Result(result) => match &result.err {
            None => format!("result<{}>", or_none(&result.ok)),
            Some(error) => format!("result<{}, {}>", or_none(&result.ok), spelled(resolve, error)),
        },
        other => other.as_str().to_owned(),
    }
}

/// What is said of something, on lines that are not broken in the middle of a sentence.
fn text(docs: &Docs) -> String {
    let said = docs.contents.as_deref().unwrap_or_default().trim();
    said.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_reference_is_the_one_of_this_contract() {
        let committed = include_str!("../../../docs/plugin-contract.md");
        assert!(
            committed == reference(),
            "docs/plugin-contract.md is stale; refresh it with `wotp plugin contract > docs/plugin-contract.md`"
        );
    }

    /// An author finds every field with what it is: nothing in the contract is without words.
    #[test]
    fn everything_in_the_contract_is_told_of() {
        let page = reference();
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            let what = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
            let is_plain = ["| `debug` ", "| `info` ", "| `warn` ", "| `error` ", "| `get` ", "| `post` ", "| `put` "];
            let is_plain = is_plain.iter().chain(&["| `patch` ", "| `delete` "]).any(|start| line.starts_with(start));
            assert!(!what.trim().is_empty() || is_plain, "{line}");
        }
        let headings: Vec<_> = page.split("\n###").skip(1).collect();
        assert!(headings.len() > 30, "{}", headings.len());
        for heading in headings {
            let words = heading.lines().nth(2).unwrap_or_default();
            assert!(!words.is_empty() && !words.starts_with('|'), "{heading}");
        }
    }
}

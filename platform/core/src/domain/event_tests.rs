use super::*;

#[test]
fn a_name_is_dotted_words_and_names_one_kind() {
    let mut names = std::collections::BTreeSet::new();
    for kind in EventKind::ALL {
        let name = kind.name();
        assert!(names.insert(name), "{name} is there twice");
        assert_eq!(name.parse::<EventKind>(), Ok(*kind));
        let words: Vec<&str> = name.split('.').collect();
        assert_eq!(words.len(), 2, "{name}");
        assert!(words.iter().all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
    }
    assert_eq!("verification.aproved".parse::<EventKind>(), Err(EventKindError));
}

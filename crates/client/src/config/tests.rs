use super::{ClientConfig, parse_properties};

#[test]
fn properties_are_read_as_java_does() {
    let text = "# comment\n! comment\n\na=1\nb : two\nc three \\\n   more\nd\\=e=\\u0041\\tx\nempty=\nlone\n";
    let entries = parse_properties(text);
    let expected =
        [("a", "1"), ("b", "two"), ("c", "three more"), ("d=e", "A\tx"), ("empty", ""), ("lone", "")];
    assert_eq!(entries, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
}

#[test]
fn any_text_can_be_read_as_properties() {
    let mut state = 1u32;
    for _ in 0..2000 {
        let text: String = (0..20)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ['\\', '=', ':', ' ', '\n', 'u', '0', 'x', '#', 'é'][(state >> 16) as usize % 10]
            })
            .collect();
        parse_properties(&text);
    }
}

#[test]
fn values_that_cannot_be_read_are_named() {
    let mut config = ClientConfig::of_servers("a:1");
    config.set("linger.ms", "soon").set("enable.idempotence", "maybe").set("no.such.key", "1");
    let text = config.parsed("linger.ms", 5u64).unwrap_err().to_string();
    assert_eq!(text, "Invalid value soon for configuration linger.ms: Not a number of type LONG");
    assert!(config.flag("enable.idempotence", true).is_err());
    assert_eq!(config.unknown_keys(), ["no.such.key"]);
}

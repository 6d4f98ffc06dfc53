//! JSON as Go's encoder writes it, and as a careful reader takes it.
//!
//! Digests are made of these bytes, so the writer never changes its mind: struct order, sorted
//! maps, no spaces, and the escapes of Go's `encoding/json`, which Docker and BuildKit use.

use std::fmt;
use std::io;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::ser::{CompactFormatter, Formatter};

/// Documents nest a few levels; a deeper one is an attack.
const DEEPEST: usize = 64;

/// The bytes of a value as Go's encoder writes them.
pub fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Go);
    value
        .serialize(&mut serializer)
        .expect("a value of this crate serialises, because its maps have string keys");
    bytes
}

/// Escapes what could end a script element, and the two line separators of JavaScript.
struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        for (at, character) in fragment.char_indices() {
            let escaped = match character {
                '<' => "\\u003c",
                '>' => "\\u003e",
                '&' => "\\u0026",
                '\u{2028}' => "\\u2028",
                '\u{2029}' => "\\u2029",
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            writer.write_all(escaped.as_bytes())?;
            plain = at + character.len_utf8();
        }
        CompactFormatter.write_string_fragment(writer, &fragment[plain..])
    }
}

/// Reads one document: no key twice, no depth without end, nothing after it.
pub(crate) fn from_json<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut strict = serde_json::Deserializer::from_slice(bytes);
    Strict { depth: 0 }.deserialize(&mut strict)?;
    strict.end()?;
    serde_json::from_slice(bytes)
}

/// Go writes an absent list or map as `null`, and tools copy that.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Walks a document without keeping it.
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(&self) -> Result<Strict, E> {
        if self.depth == DEEPEST {
            return Err(E::custom(format!("nested deeper than {DEEPEST} levels")));
        }
        Ok(Strict { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        loop {
            let element = self.deeper()?;
            if access.next_element_seed(element)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = access.next_key::<String>()? {
            access.next_value_seed(self.deeper()?)?;
            if seen.contains(&key) {
                return Err(serde::de::Error::custom(format!("duplicate key `{key}`")));
            }
            seen.insert(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn check_written(text: &str, expected: &str) {
        let bytes = to_json(&text);
        assert_eq!(std::str::from_utf8(&bytes).expect("JSON is UTF-8"), expected);
        let back: String = serde_json::from_slice(&bytes).expect("what is written can be read");
        assert_eq!(back, text);
    }

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        check_written("a<b>&c", r#""a\u003cb\u003e\u0026c""#);
        check_written("\u{2028}é\u{2029}", r#""\u2028é\u2029""#);
        check_written("\"\\\n\r\t", r#""\"\\\n\r\t""#);
        check_written("\u{1}\u{1f}\u{7f}", "\"\\u0001\\u001f\u{7f}\"");
        check_written("\u{8}\u{c}", r#""\b\f""#);
        check_written("<<&&", r#""\u003c\u003c\u0026\u0026""#);
        check_written("", r#""""#);
    }

    fn check_read(text: &str, problem: Option<&str>) {
        let found = from_json::<Value>(text.as_bytes()).err().map(|error| error.to_string());
        match problem {
            None => assert_eq!(found, None, "{text}"),
            Some(problem) => {
                let found = found.expect("the case is refused");
                assert!(found.contains(problem), "{text}: {found}");
            }
        }
    }

    #[test]
    fn careless_documents_are_refused() {
        check_read(r#"{"a":1,"b":[{"a":2}]}"#, None);
        check_read(r#"{"a":1,"a":1}"#, Some("duplicate key `a`"));
        check_read(r#"{"a":1,"\u0061":1}"#, Some("duplicate key `a`"));
        check_read(r#"[{"x":{"a":1,"a":1}}]"#, Some("duplicate key `a`"));
        check_read(r#"{"a":1}{"a":1}"#, Some("trailing characters"));
        check_read("", Some("EOF"));
        check_read(&format!("{}{}", "[".repeat(64), "]".repeat(64)), None);
        check_read(&format!("{}{}", "[".repeat(66), "]".repeat(66)), Some("deeper"));
        check_read(&"[".repeat(100_000), Some("deeper"));
        check_read(&"{\"x\":".repeat(100_000), Some("deeper"));
    }
}

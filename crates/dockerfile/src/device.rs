//! `RUN --device`: a CSV record that names a device.

use crate::build::Failure;
use crate::csv;
use crate::error::{ParseErrorKind as Kind, suggest};
use crate::instruction::Device;
use crate::text::parse_bool;

pub(crate) fn parse(text: &str) -> Result<Device, Failure> {
    let fields = csv::fields(text).map_err(|error| (Kind::DeviceCsv(error), None))?;
    let mut device = Device { name: String::new(), required: false };
    for field in fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", None) => device.required = true,
            ("required", Some(value)) => {
                device.required = parse_bool(value)
                    .ok_or_else(|| (Kind::DeviceValue(key.clone(), value.to_owned()), None))?;
            }
            ("name", Some(_)) if !device.name.is_empty() => {
                return Err((Kind::DeviceName(device.name), None));
            }
            ("name", Some(value)) => device.name = value.to_owned(),
            // The first field that is nothing else is the name.
            _ if device.name.is_empty() => device.name = field,
            (_, None) => return Err((Kind::DeviceField(field), None)),
            (_, Some(_)) => {
                let suggestion = suggest(&key, ["name", "required"]);
                return Err((Kind::DeviceKey(key, field), suggestion));
            }
        }
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_devices() {
        let check = |text: &str, expected: &str| {
            let got = match super::parse(text) {
                Ok(device) => format!("{} {}", device.name, device.required),
                Err((kind, suggestion)) => format!("{kind} {}", suggestion.unwrap_or_default()),
            };
            assert_eq!(got, expected, "{text}");
        };
        check("vendor.com/a=b", "vendor.com/a=b false");
        check("vendor.com/a,required", "vendor.com/a true");
        check("required=0,name=a", "a false");
        check("required=x", "invalid value for required: x ");
        check("a,name=b", "device name already set to a ");
        check("a,b", "invalid field 'b' must be a key=value pair ");
        check("a,nme=b", "unexpected key 'nme' in 'nme=b' name");
        check("", "failed to parse csv devices: EOF ");
    }
}

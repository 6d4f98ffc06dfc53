//! What the extension headers before a member say: PAX records and GNU long names, brought
//! together to one value for each field.

use rootfs::Xattrs;

use crate::pax::{self, Record};
use crate::sparse;

/// Why a set of extension headers is refused.
pub(crate) type Reason = String;

/// The extension headers that stand before a member.
#[derive(Default)]
pub(crate) struct Extensions {
    records: Option<Vec<Record>>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

/// The fields they set.
#[derive(Default)]
pub(crate) struct Fields {
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<(i64, u32)>,
    pub(crate) xattrs: Xattrs,
    pub(crate) sparse: Option<sparse::Records>,
}

impl Extensions {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }

    pub(crate) fn set_records(&mut self, records: Vec<Record>) -> Result<(), Reason> {
        once(&mut self.records, records)
    }

    pub(crate) fn set_long_name(&mut self, name: Vec<u8>) -> Result<(), Reason> {
        once(&mut self.long_name, name)
    }

    pub(crate) fn set_long_link(&mut self, name: Vec<u8>) -> Result<(), Reason> {
        once(&mut self.long_link, name)
    }

    /// The member's own records win over the global ones.
    pub(crate) fn into_fields(self, global: &[Record]) -> Result<Fields, Reason> {
        let mut fields = Fields::default();
        let mut map = sparse::RecordsBuilder::default();
        for (key, value) in global.iter().chain(self.records.iter().flatten()) {
            fields.set(key, value, &mut map)?;
        }
        if let Some(records) = map.build()? {
            // The member itself then carries a made-up name.
            if let Some(name) = &records.name {
                fields.name = Some(name.clone());
            }
            fields.sparse = Some(records);
        }
        same(&mut fields.name, self.long_name, "name")?;
        same(&mut fields.link, self.long_link, "link")?;
        Ok(fields)
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Reason> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("a member has two extension headers of one type".to_owned()),
    }
}

/// Readers differ in whether PAX or GNU wins: both may only say the same.
fn same(pax: &mut Option<Vec<u8>>, gnu: Option<Vec<u8>>, what: &str) -> Result<(), Reason> {
    match (pax.as_ref(), gnu) {
        (_, None) => {}
        (None, gnu) => *pax = gnu,
        (Some(pax), Some(gnu)) if *pax == gnu => {}
        (Some(_), Some(_)) => return Err(format!("PAX and GNU headers give a member two {what}s")),
    }
    Ok(())
}

impl Fields {
    fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        map: &mut sparse::RecordsBuilder,
    ) -> Result<(), Reason> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if name.is_empty() || name.len() > 255 {
                return Err("an extended attribute has no valid name".to_owned());
            }
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return map.set(key, value);
        }
        // An empty value takes an earlier record back.
        let number = |value: &[u8]| match value {
            b"" => Ok(None),
            digits => pax::decimal(digits).map(Some).ok_or_else(|| invalid(key)),
        };
        match key {
            b"path" => self.name = text(key, value)?,
            b"linkpath" => self.link = text(key, value)?,
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(pax::time(value).ok_or_else(|| invalid(key))?),
            // Names of owners, times of access and comments say nothing an image holds.
            _ => {}
        }
        Ok(())
    }
}

fn text(key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Reason> {
    match value {
        b"" => Ok(None),
        value if value.contains(&0) => Err(invalid(key)),
        value => Ok(Some(value.to_vec())),
    }
}

fn invalid(key: &[u8]) -> Reason {
    format!("the PAX record `{}` has no valid value", crate::error::shown(key))
}

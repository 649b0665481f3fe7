//! Maps by bytes, for what aya has no type for: for example a socket put into a map from user space.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use aya::Pod;

use super::attr::{self, address, address_mut, bpf, bpf_fd, raw};
use super::{MapType, SysError, map_info};

/// A map to create.
#[derive(Clone, Copy, Debug)]
pub struct MapSpec<'a> {
    /// Its type.
    pub kind: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// How many it can hold.
    pub max_entries: u32,
    /// At most 15 letters, digits and underscores.
    pub name: &'a str,
}

impl MapError {
    /// The kernel's error number, if it has answered.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Sys(error) => error.errno(),
            Self::Size { .. } => None,
        }
    }
}

impl MapSpec<'_> {
    /// `BPF_F_NO_PREALLOC`, which these types insist on.
    fn flags(&self) -> u32 {
        u32::from(matches!(self.kind, MapType::LPM_TRIE | MapType::SK_STORAGE))
    }
}

/// Creates a map. Socket storage gets the type information that the kernel wants: a key and a value of 4 bytes.
///
/// # Errors
/// [`SysError`].
pub fn map_create(spec: &MapSpec<'_>) -> Result<OwnedFd, SysError> {
    let btf = if spec.kind == MapType::SK_STORAGE {
        Some(btf_with_one_int()?)
    } else {
        None
    };
    let type_id = u32::from(btf.is_some());
    let mut attr = attr::MapCreate {
        map_type: spec.kind.0,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        map_flags: spec.flags(),
        map_name: attr::name_bytes(spec.name),
        btf_fd: btf.as_ref().map_or(0, |btf| raw(btf.as_raw_fd())),
        btf_key_type_id: type_id,
        btf_value_type_id: type_id,
        ..Default::default()
    };
    // SAFETY: the argument holds no address.
    unsafe { bpf_fd(&mut attr, || format!("map {} ({})", spec.name, spec.kind)) }
}

/// Type information with type 1: a signed int of 32 bits.
fn btf_with_one_int() -> Result<OwnedFd, SysError> {
    const MAGIC_VERSION: u32 = if cfg!(target_endian = "little") {
        0x0001_eb9f
    } else {
        0xeb9f_0100
    };
    const KIND_INT: u32 = 1 << 24;
    const SIGNED_32_BITS: u32 = 1 << 24 | 32;
    // Header: magic, its size, offset and length of the types, offset and length of the strings. Then the type.
    // Then the strings: the empty one, padded.
    let btf: [u32; 11] = [MAGIC_VERSION, 24, 0, 16, 16, 1, 0, KIND_INT, 4, SIGNED_32_BITS, 0];
    let mut attr = attr::BtfLoad {
        btf: address(&btf),
        btf_size: 24 + 16 + 1,
        ..Default::default()
    };
    // SAFETY: the buffer outlives the call and is longer than announced.
    unsafe { bpf_fd(&mut attr, || "type information of a map".to_owned()) }
}

/// Why an entry could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The bytes do not have the map's size.
    #[error("map {map}: a {part} has {expected} bytes, not {actual}")]
    Size {
        /// The map.
        map: String,
        /// Key or value.
        part: &'static str,
        /// What the map has.
        expected: usize,
        /// What was given.
        actual: usize,
    },
    /// The kernel refused.
    #[error(transparent)]
    Sys(#[from] SysError),
}

/// A map whose entries are bytes; the sizes are the kernel's, so no call can read or write past a buffer.
#[derive(Debug)]
pub struct RawMap {
    fd: OwnedFd,
    name: String,
    key_size: usize,
    value_size: usize,
    max_entries: u32,
}

impl RawMap {
    /// Takes a map, and its sizes from the kernel.
    ///
    /// # Errors
    /// [`SysError`] when the descriptor is not a map's, or the number of CPUs cannot be read.
    pub fn new(fd: OwnedFd) -> Result<Self, SysError> {
        let info = map_info(fd.as_fd())?;
        let mut value_size = info.value_size as usize;
        if info.kind.is_per_cpu() {
            let cpus = aya::util::nr_cpus().map_err(|(call, source)| SysError {
                call,
                object: "the possible CPUs".to_owned(),
                source,
            })?;
            // The kernel hands out one value per possible CPU, each padded to 8 bytes.
            value_size = value_size.next_multiple_of(8) * cpus;
        }
        Ok(Self {
            fd,
            name: info.name,
            key_size: info.key_size as usize,
            value_size,
            max_entries: info.max_entries,
        })
    }

    /// Bytes of a key.
    #[must_use]
    pub fn key_size(&self) -> usize {
        self.key_size
    }

    /// Bytes of a value as user space sees it: of all CPUs in a per-CPU map.
    #[must_use]
    pub fn value_size(&self) -> usize {
        self.value_size
    }

    /// How many entries it has room for.
    #[must_use]
    pub const fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// Sets an entry, whether or not it is there.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), MapError> {
        self.check("key", key, self.key_size)?;
        self.check("value", value, self.value_size)?;
        let mut attr = attr::MapUpdate {
            value: address(value),
            ..self.element(key)
        };
        // SAFETY: key and value outlive the call and have the map's sizes.
        unsafe { bpf(&mut attr, || self.describe()) }?;
        Ok(())
    }

    /// Puts a socket into a map of sockets.
    ///
    /// # Errors
    /// [`MapError`]; `EOPNOTSUPP` when the socket is in a state that the map does not take.
    pub fn update_socket(&self, key: &[u8], socket: BorrowedFd<'_>) -> Result<(), MapError> {
        let fd = raw(socket.as_raw_fd());
        // The kernel reads as many bytes as the map's values have: 4, or 8 where look-ups give cookies.
        if self.value_size == size_of::<u64>() {
            self.update(key, &u64::from(fd).to_ne_bytes())
        } else {
            self.update(key, &fd.to_ne_bytes())
        }
    }

    /// Sets an entry of types that the kernel side has too.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn set<K: Pod, V: Pod>(&self, key: &K, value: &V) -> Result<(), MapError> {
        self.update(bytes(key), bytes(value))
    }

    /// The value of such an entry, if it is there.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn get<K: Pod, V: Pod>(&self, key: &K) -> Result<Option<V>, MapError> {
        let Some(found) = self.lookup(bytes(key))? else {
            return Ok(None);
        };
        self.check("value", &found, size_of::<V>())?;
        // SAFETY: there are as many bytes as the type has, which takes any, and need not be aligned.
        Ok(Some(unsafe { found.as_ptr().cast::<V>().read_unaligned() }))
    }

    /// The value of an entry, if it is there.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        self.check("key", key, self.key_size)?;
        let mut value = vec![0; self.value_size];
        let element = self.element(key);
        let mut attr = attr::MapLookup {
            map_fd: element.map_fd,
            key: element.key,
            value: address_mut(&mut value),
            ..Default::default()
        };
        // SAFETY: key and value outlive the call and have the map's sizes.
        match unsafe { bpf(&mut attr, || self.describe()) } {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an entry; `false` if it was not there.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn delete(&self, key: &[u8]) -> Result<bool, MapError> {
        self.check("key", key, self.key_size)?;
        let element = self.element(key);
        let mut attr = attr::MapDelete {
            map_fd: element.map_fd,
            key: element.key,
            ..Default::default()
        };
        // SAFETY: the key outlives the call and has the map's size.
        match unsafe { bpf(&mut attr, || self.describe()) } {
            Ok(_) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The key after `key`, or the first; `None` at the end. A key that is gone starts over.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, MapError> {
        if let Some(key) = key {
            self.check("key", key, self.key_size)?;
        }
        let mut next = vec![0; self.key_size];
        let mut attr = attr::MapNextKey {
            map_fd: raw(self.fd.as_raw_fd()),
            key: key.map_or(0, address),
            next_key: address_mut(&mut next),
            ..Default::default()
        };
        // SAFETY: both keys outlive the call and have the map's size; a null key asks for the first.
        match unsafe { bpf(&mut attr, || self.describe()) } {
            Ok(_) => Ok(Some(next)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn element(&self, key: &[u8]) -> attr::MapUpdate {
        attr::MapUpdate {
            map_fd: raw(self.fd.as_raw_fd()),
            key: address(key),
            ..Default::default()
        }
    }

    fn check(&self, part: &'static str, bytes: &[u8], expected: usize) -> Result<(), MapError> {
        if bytes.len() == expected {
            return Ok(());
        }
        Err(MapError::Size {
            map: self.name.clone(),
            part,
            expected,
            actual: bytes.len(),
        })
    }

    fn describe(&self) -> String {
        format!("map {}", self.name)
    }
}

/// What the kernel reads of a key or a value.
fn bytes<T: Pod>(value: &T) -> &[u8] {
    // SAFETY: plain data is as long as its type, and lives as long as the borrow. What is shared with the kernel side has
    // no padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

impl AsFd for RawMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

use super::*;

fn workload() -> Workload {
    Workload {
        name: "a".to_owned(),
        namespace: "b".to_owned(),
        service_account: "c".to_owned(),
    }
}

#[test]
fn bytes_of_the_protocol() {
    let add = Request::Add {
        uid: "u".to_owned(),
        workload: Some(workload()),
    };
    let table: [(Request, &[u8]); 4] = [
        (add, b"\x0a\x0e\x0a\x01u\x12\x09\x0a\x01a\x12\x01b\x1a\x01c"),
        (Request::Keep { uid: "u".to_owned() }, b"\x2a\x03\x0a\x01u"),
        (Request::Del { uid: "u".to_owned() }, b"\x12\x03\x12\x01u"),
        (Request::SnapshotSent, b"\x1a\x00"),
    ];
    for (request, bytes) in table {
        assert_eq!(request.encode(), bytes, "{request:?}");
        assert_eq!(Request::decode(bytes), Ok(request));
    }
}

#[test]
fn answers() {
    assert_eq!(encode_ack(""), b"\x0a\x00");
    assert_eq!(encode_ack("no"), b"\x0a\x04\x0a\x02no");
    assert_eq!(decode_ack(b"\x0a\x00"), Ok(String::new()));
    assert_eq!(decode_ack(b"\x0a\x04\x0a\x02no"), Ok("no".to_owned()));
    assert_eq!(decode_ack(b""), Err(Error::NoPayload));
}

#[test]
fn an_add_without_identity_is_readable() {
    let add = Request::Add {
        uid: "u".to_owned(),
        workload: None,
    };
    assert_eq!(Request::decode(b"\x0a\x03\x0a\x01u"), Ok(add));
}

#[test]
fn long_texts_have_long_lengths() {
    let del = Request::Del { uid: "x".repeat(300) };
    let bytes = del.encode();
    assert_eq!(bytes[..6], [0x12, 0xaf, 0x02, 0x12, 0xac, 0x02]);
    assert_eq!(Request::decode(&bytes), Ok(del));
}

#[test]
fn unknown_fields_are_skipped() {
    // A number, eight bytes, four bytes and a text in front of the uid.
    let del =
        b"\x12\x17\x08\x96\x01\x19\x01\x02\x03\x04\x05\x06\x07\x08\x25\x01\x02\x03\x04\x32\x01z\x12\x01u";
    assert_eq!(Request::decode(del), Ok(Request::Del { uid: "u".to_owned() }));
}

#[test]
fn broken_messages_are_errors() {
    let table: [(&[u8], Error); 8] = [
        (b"", Error::NoPayload),
        (b"\x32\x00", Error::NoPayload),
        (b"\x0a", Error::Truncated),
        (b"\x0a\x05\x0a", Error::Truncated),
        (b"\x12\x03\x18\x01\x12", Error::Truncated),
        (b"\x08\x01", Error::WireType(1, 0)),
        (b"\x12\x03\x12\x01\xff", Error::NotText(2)),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Error::LongNumber),
    ];
    for (bytes, error) in table {
        assert_eq!(Request::decode(bytes), Err(error), "{bytes:x?}");
    }
}

#[test]
fn no_prefix_of_a_message_panics() {
    let bytes = Request::Add {
        uid: "uid".to_owned(),
        workload: Some(workload()),
    }
    .encode();
    for end in 0..bytes.len() {
        assert!(Request::decode(&bytes[..end]).is_err(), "{end} bytes");
    }
}

use super::*;

fn uid(text: &str) -> PodUid {
    PodUid::new(text).unwrap()
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    request.encode().unwrap()
}

#[test]
fn requests_have_exactly_these_bytes() {
    let uid = uid("u1");
    let add = Request::Add {
        uid: &uid,
        name: "n",
        namespace: "ns",
        service_account: "sa",
    };
    let bare = Request::Add {
        uid: &uid,
        name: "",
        namespace: "",
        service_account: "",
    };
    let table: [(&str, Request<'_>, &[u8]); 5] = [
        (
            "add",
            add,
            b"\x0a\x11\x0a\x02u1\x12\x0b\x0a\x01n\x12\x02ns\x1a\x02sa",
        ),
        (
            "add keeps an empty workload_info",
            bare,
            b"\x0a\x06\x0a\x02u1\x12\x00",
        ),
        ("del is field two", Request::Del(&uid), b"\x12\x04\x12\x02u1"),
        ("keep", Request::Keep(&uid), b"\x2a\x04\x0a\x02u1"),
        ("snapshot", Request::SnapshotSent, b"\x1a\x00"),
    ];
    for (name, request, bytes) in table {
        assert_eq!(encoded(&request), bytes, "{name}");
    }
}

#[test]
fn a_length_above_127_takes_two_bytes() {
    let uid = uid(&"x".repeat(PodUid::MAX_LENGTH));
    let del = encoded(&Request::Del(&uid));
    assert_eq!(&del[..6], b"\x12\x83\x01\x12\x80\x01");
    assert_eq!(del.len(), 6 + PodUid::MAX_LENGTH);
}

#[test]
fn what_does_not_fit_ztunnels_buffer_is_refused() {
    let uid = uid("u");
    let encode = |name: &str| {
        let add = Request::Add {
            uid: &uid,
            name,
            namespace: "",
            service_account: "",
        };
        add.encode()
    };
    // All lengths from here on take two bytes.
    let around = encode(&"n".repeat(500)).unwrap().len() - 500;
    let fits = "n".repeat(MAX_REQUEST - around);
    assert_eq!(encode(&fits).unwrap().len(), MAX_REQUEST);
    for long in [format!("{fits}n"), "n".repeat(2000)] {
        assert!(matches!(encode(&long), Err(EncodeError::TooLong { length, .. }) if length > MAX_REQUEST));
    }
}

#[test]
fn the_longest_names_kubernetes_allows_fit() {
    let uid = uid("01234567-0123-0123-0123-0123456789ab");
    let name = "n".repeat(253);
    let add = Request::Add {
        uid: &uid,
        name: &name,
        namespace: &"s".repeat(63),
        service_account: &name,
    };
    assert!(encoded(&add).len() <= MAX_REQUEST);
}

#[test]
fn hellos() {
    let table: [(&str, &[u8], Result<u64, DecodeError>); 7] = [
        ("version one", b"\x08\x01", Ok(1)),
        ("a later version", b"\x08\x02", Ok(2)),
        ("nothing", b"", Ok(0)),
        (
            "unknown fields around it",
            b"\x12\x01x\x08\x01\x1d\x00\x00\x00\x00\x21aaaaaaaa",
            Ok(1),
        ),
        ("the last one counts", b"\x08\x05\x08\x01", Ok(1)),
        (
            "a string as version",
            b"\x0a\x01x",
            Err(wrong_type("ZdsHello", 1)),
        ),
        ("cut", b"\x08", Err(DecodeError::Wire(WireError::Truncated))),
    ];
    for (name, bytes, expected) in table {
        assert_eq!(
            Hello::decode(bytes).map(|hello| hello.version),
            expected,
            "{name}"
        );
    }
}

#[test]
fn answers() {
    let nack = |text: &str| Ok(Answer::Nack(text.to_owned()));
    let wire = |error| Err(DecodeError::Wire(error));
    let table: [(&str, &[u8], Result<Answer, DecodeError>); 15] = [
        ("ok", b"\x0a\x00", Ok(Answer::Ack)),
        ("ok, spelled out", b"\x0a\x02\x0a\x00", Ok(Answer::Ack)),
        ("nack", b"\x0a\x05\x0a\x03bad", nack("bad")),
        (
            "nack that is not UTF-8",
            b"\x0a\x03\x0a\x01\xff",
            nack("\u{fffd}"),
        ),
        (
            "unknown fields everywhere",
            b"\x10\x07\x0a\x08\x10\x01\x0a\x01x\x1a\x01y\x1a\x00",
            nack("x"),
        ),
        ("nothing", b"", Err(DecodeError::NoPayload)),
        ("only unknown", b"\x12\x01x", Err(DecodeError::NoPayload)),
        (
            "ack as number",
            b"\x08\x01",
            Err(wrong_type("WorkloadResponse", 1)),
        ),
        ("error as number", b"\x0a\x02\x08\x01", Err(wrong_type("Ack", 1))),
        ("longer than it is", b"\x0a\x7f\x0a", wire(WireError::Truncated)),
        (
            "a length of 2^64-1",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            wire(WireError::Truncated),
        ),
        ("a group", b"\x0b", wire(WireError::WireType(3))),
        ("field zero", b"\x02\x00", wire(WireError::FieldNumber(0))),
        (
            "65 bits",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            wire(WireError::VarintOverflow),
        ),
        ("eleven bytes", &[0x80; 11], wire(WireError::VarintOverflow)),
    ];
    for (name, bytes, expected) in table {
        assert_eq!(Answer::decode(bytes), expected, "{name}");
    }
}

#[test]
fn a_nack_cut_anywhere_is_an_error_and_never_an_ack() {
    let whole = b"\x0a\x0a\x0a\x08bad news";
    assert_eq!(Answer::decode(whole), Ok(Answer::Nack("bad news".into())));
    for length in 0..whole.len() {
        assert!(Answer::decode(&whole[..length]).is_err(), "cut to {length}");
    }
}

#[test]
fn junk_never_panics() {
    // xorshift: the same junk on every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut understood = 0;
    for _ in 0..50_000 {
        let length = next() % 40;
        let junk: Vec<u8> = (0..length)
            .map(|_| next() as u8 & if next() & 1 == 0 { 0x0f } else { 0xff })
            .collect();
        understood += usize::from(Hello::decode(&junk).is_ok()) + usize::from(Answer::decode(&junk).is_ok());
    }
    assert!(
        understood > 100,
        "the junk is never close to a message: {understood}"
    );
}

//! `docs/reasons.md` says what the code says. `WEIR_BLESS=1` rewrites it.

use std::fs;
use std::path::PathBuf;

use weir_common::reason::Reason;

const HEAD: &str = "\
# Reasons

Each new connection of an enrolled pod is decided once, for one of these reasons. Counters in `weir status POD` carry
the name. `redirected` goes to ztunnel, `passed` goes where the application sent it on purpose, `refused` was stopped,
and `failed` means that Weir could not do what it should have.

The table is made from `common/src/reason.rs`; `WEIR_BLESS=1 cargo test -p weir-agent --test docs_reasons` writes it.

| name | verdict | meaning |
|---|---|---|
";

fn generated() -> String {
    let rows = Reason::ALL.iter().map(|reason| {
        format!(
            "| `{}` | {} | {} |\n",
            reason.name(),
            reason.verdict().name(),
            reason.help()
        )
    });
    HEAD.to_owned() + &rows.collect::<String>()
}

#[test]
fn the_table_of_reasons_is_that_of_the_code() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", "reasons.md"]
        .iter()
        .collect();
    if std::env::var_os("WEIR_BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, generated()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(
        written,
        generated(),
        "{} is out of step: run this test with WEIR_BLESS=1",
        path.display()
    );
}

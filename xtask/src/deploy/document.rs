//! What Helm prints, as objects in an order of our own: its program and its engine differ in that alone.

use anyhow::{Context, Result};

/// One rendered file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Document {
    /// The template's path in the chart.
    pub(super) template: String,
    pub(super) text: String,
}

/// Splits at the lines `---` and reads the comment that names the template.
pub(super) fn split(text: &str) -> Result<Vec<Document>> {
    let parts = format!("\n{text}");
    let parts = parts.split("\n---\n").map(str::trim);
    let mut documents = parts
        .filter(|part| !part.is_empty())
        .map(read)
        .collect::<Result<Vec<_>>>()?;
    documents.retain(|document| !document.text.is_empty());
    documents.sort();
    Ok(documents)
}

fn read(part: &str) -> Result<Document> {
    let (first, text) = part.split_once('\n').unwrap_or((part, ""));
    let template = first
        .strip_prefix("# Source: ")
        .with_context(|| format!("helm does not say which template {first:?} is from"))?;
    Ok(Document {
        template: template.to_owned(),
        text: text.trim().to_owned(),
    })
}

/// One manifest of them all.
pub(super) fn join(documents: &[Document]) -> String {
    let mut manifest = String::new();
    for Document { template, text } in documents {
        manifest += &format!("---\n# {template}\n{text}\n");
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::{join, split};

    #[test]
    fn the_order_of_what_helm_prints_does_not_matter() {
        let one = "---\n# Source: weir/templates/b.yaml\nkind: B\n---\n# Source: weir/templates/a.yaml\n\nkind: A\n";
        let other =
            "---\n# Source: weir/templates/a.yaml\nkind: A\n\n---\n# Source: weir/templates/b.yaml\nkind: B";
        assert_eq!(split(one).unwrap(), split(other).unwrap());
        assert_eq!(
            join(&split(one).unwrap()),
            "---\n# weir/templates/a.yaml\nkind: A\n---\n# weir/templates/b.yaml\nkind: B\n"
        );
    }

    #[test]
    fn empty_files_are_left_out_and_nameless_ones_refused() {
        assert_eq!(split("---\n# Source: weir/templates/a.yaml\n\n").unwrap(), []);
        assert!(split("---\nkind: A\n").is_err());
    }
}

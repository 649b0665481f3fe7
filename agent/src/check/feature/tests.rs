//! The table is consistent.

use std::collections::HashSet;

use super::{FEATURES, Path};

#[test]
fn every_name_is_unique() {
    let names: HashSet<_> = FEATURES.iter().map(|feature| feature.name).collect();
    assert_eq!(names.len(), FEATURES.len());
}

#[test]
fn what_stands_in_for_a_feature_is_in_the_table_and_serves_the_same_paths() {
    for feature in FEATURES {
        let Some(instead) = feature.instead else { continue };
        let other = FEATURES.iter().find(|other| other.name == instead).unwrap();
        assert_eq!(
            feature.needed_by, other.needed_by,
            "{} and {instead}",
            feature.name
        );
    }
}

#[test]
fn every_path_needs_something_of_its_own_and_every_line_says_what_to_do() {
    for path in Path::ALL {
        let own = |needed_by: &[Path]| needed_by.contains(path) && needed_by.len() < Path::ALL.len();
        assert!(
            FEATURES.iter().any(|feature| own(feature.needed_by)),
            "{}",
            path.name()
        );
    }
    for feature in FEATURES {
        assert!(
            !feature.costs.is_empty() && !feature.remedy.is_empty(),
            "{}",
            feature.name
        );
    }
}

//! Rights that are missing.

use serde_json::json;

use crate::scene::{Following, Stage, chart_rules};

#[test]
fn kube_a_missing_right_is_named_until_it_is_granted() {
    let stage = Stage::without_rights();
    stage.create_pod("a", &stage.node.to_string());
    let mut following = Following::begin(&stage);
    following.expect_trouble(&["forbids", "list pods", "ClusterRole"]);
    stage.grant(&json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]));
    following.expect_trouble(&["forbids", "list namespaces"]);
    stage.grant(&json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"]},
    ]));
    following.expect_trouble(&["forbids", "watch namespaces"]);
    stage.grant(&chart_rules());
    following.expect(&["a"]);
    following.expect_current();
}

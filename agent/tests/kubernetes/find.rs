//! One pod, asked for.

use weir_agent::pods::pod::PodName;
use weir_agent::pods::source::kubernetes::PodFinder;

use crate::fake::{Fake, Fault, Kind};
use crate::scene::shop;

#[tokio::test]
async fn a_pod_is_found_with_its_namespaces_labels() {
    let fake = Fake::start();
    shop(&fake, &["a"]);
    let finder = PodFinder::new(fake.client());
    let name = |name| PodName::new("shop", name).unwrap();
    let entry = finder.find(&name("a")).await.unwrap().unwrap();
    assert_eq!(entry.pod.uid.as_str(), "uid-a");
    assert_eq!(entry.namespace_labels["istio.io/dataplane-mode"], "ambient");
    assert!(finder.find(&name("b")).await.unwrap().is_none());
    let elsewhere = PodName::new("nowhere", "a").unwrap();
    assert!(finder.find(&elsewhere).await.unwrap().is_none());
}

#[tokio::test]
async fn why_nobody_can_tell_is_said() {
    let mut fake = Fake::start();
    shop(&fake, &["a"]);
    let finder = PodFinder::new(fake.client());
    let name = PodName::new("shop", "a").unwrap();
    for (kind, word) in [(Kind::Pod, "get pods"), (Kind::Namespace, "get namespaces")] {
        fake.fail(Fault::Refuse {
            kind,
            watches_only: false,
            code: 403,
        });
        let error = finder.find(&name).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    for (fault, word) in [
        (Fault::Hang, "did not answer"),
        (Fault::Garbage, "cannot be read"),
    ] {
        fake.fail(fault);
        let error = finder.find(&name).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    fake.go_away().await;
    let error = finder.find(&name).await.unwrap_err().to_string();
    assert!(
        error.contains("cannot be reached") && error.contains("refused"),
        "{error}"
    );
}

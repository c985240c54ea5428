//! Each finding has its page, and each page its finding.

use std::{collections::BTreeSet, fs, path::Path};

use crate::diagnose::{AUDITED, rules};

/// Each page says what to do in each.
const CNIS: [&str; 6] = [
    "AWS VPC CNI",
    "Calico",
    "Cilium",
    "Kube-OVN",
    "flannel",
    "kube-router",
];

/// A page is read in the middle of an incident.
const PAGE_LINES: usize = 45;

fn pages() -> BTreeSet<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings");
    fs::read_dir(dir)
        .expect("docs/findings")
        .map(|e| e.expect("entry").path())
        .map(|p| {
            let text = fs::read_to_string(&p).expect("page");
            let id = p.file_stem().expect("name").to_string_lossy().into_owned();
            assert!(
                text.starts_with(&format!("# {id}\n")),
                "{id}: the title is the id"
            );
            assert!(text.lines().count() <= PAGE_LINES, "{id}: too long");
            for part in ["## How tracer knows", "## What looks like it", "## Fix"] {
                assert!(text.contains(part), "{id}: no {part:?}");
            }
            let fix = text.split("## Fix").nth(1).unwrap_or_default();
            for cni in CNIS {
                assert!(fix.contains(cni), "{id}: no fix for {cni}");
            }
            let audited = AUDITED.contains(&id.as_str());
            assert_eq!(text.contains("`tracer audit`"), audited, "{id}: audit");
            id
        })
        .collect()
}

#[test]
fn ids_and_pages_are_the_same() {
    let ids: BTreeSet<String> = rules().map(|r| r.id.to_owned()).collect();
    assert_eq!(ids, pages());
}

#[test]
fn ids_are_unique_and_described() {
    let all: Vec<_> = rules().collect();
    let ids: BTreeSet<&str> = all.iter().map(|r| r.id).collect();
    assert_eq!(ids.len(), all.len());
    assert!(
        all.iter()
            .all(|r| !r.about.is_empty() && !r.about.contains('\n'))
    );
}

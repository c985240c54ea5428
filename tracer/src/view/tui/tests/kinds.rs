//! What is looked at once for each kind of flow comes to what each flow says.

use super::*;

/// All panes, with and without a filter.
fn shown(picture: &Picture) -> String {
    let mut s = state((160, 40), picture.clone());
    let mut all = String::new();
    for keys in ["1", "2", "3", "4", "5", "/dev ens6\n1", "3", "4", "5"] {
        press(&mut s, keys);
        all += &screen(&s);
    }
    all
}

/// The same flows, of which nothing is known yet.
fn anew(p: &Picture) -> Picture {
    let (inventory, snapshot) = (p.inventory.clone(), p.snapshot.clone());
    let new = Picture::new(inventory, snapshot, p.findings.clone(), p.limits.clone());
    Picture {
        attached: p.attached.clone(),
        ..new
    }
}

#[test]
fn a_picture_that_follows_another_is_as_one_that_is_made_anew() {
    let mut p = usual();
    for round in 0..6 {
        let snapshot = Arc::make_mut(&mut p.snapshot);
        snapshot.at.0 += 1_000_000_000;
        let flows = &mut snapshot.flows;
        match round {
            // counts, ways and outcomes change; flows come, go and change places
            0 => Arc::make_mut(&mut flows[1]).forward.packets += 10,
            1 => drop(Arc::make_mut(&mut flows[2]).forward.path.pop()),
            2 => drop(flows.remove(0)),
            3 => flows.reverse(),
            4 => flows.push(Arc::new(fixture::dropped())),
            _ => Arc::make_mut(&mut flows[0]).forward.outcome = None,
        }
        p = again(&p);
        assert_eq!(shown(&p), shown(&anew(&p)), "round {round}");
    }
}

#[test]
fn a_filter_that_leaves_nothing_out_changes_no_sum() {
    let p = usual();
    for pane in ["4", "5"] {
        let (mut all, mut filtered) = (state((160, 40), p.clone()), state((160, 40), p.clone()));
        press(&mut all, pane);
        press(&mut filtered, &format!("/udp\n{pane}"));
        let rows = |s: &State| {
            screen(s)
                .lines()
                .skip(3)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(&all), rows(&filtered));
    }
}

//! Small captures out of large ones.
//!
//! A recording begins with the node's whole configuration, 20 KiB of it, so that a fuzzer that starts
//! with one spends its time there. The seeds have two of everything.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Lines in a `pcapng` block of local use, as `docs/capture-format.md` says.
const LINES: u32 = 0x8054_5243;
const PACKET: u32 = 6;
/// Elements that stay of each list.
const KEPT: usize = 2;
/// Lines of one kind in a seed.
const LINES_OF_A_KIND: usize = 2;
/// Packets in a seed.
const PACKETS: usize = 4;

/// A block: type and body.
type Block = (u32, Vec<u8>);

/// Two captures of a few KiB: one with events, one with packets.
pub(super) fn small(capture: &[u8]) -> Result<Vec<Vec<u8>>> {
    let blocks = shortened(capture)?;
    Ok([false, true]
        .map(|packets| {
            let wanted = |b: &&Block| packets || b.0 != PACKET;
            blocks.iter().filter(wanted).flat_map(framed).collect()
        })
        .into())
}

/// The same without section header and first line, as the target `blocks` takes it: of each block one
/// byte for its type, two for its length, and the body.
pub(super) fn blocks(capture: &[u8]) -> Result<Vec<Vec<u8>>> {
    let blocks = shortened(capture)?;
    let mut seeds = Vec::new();
    let mut seed = Vec::new();
    let mut inventory = true;
    for (kind, body) in &blocks {
        if *kind == LINES {
            let mut lines = body.split(|b| *b == b'\n').filter(|l| !l.is_empty());
            if inventory {
                // the header is the target's own
                lines.next();
                inventory = false;
            }
            for line in lines {
                chunk(&mut seed, 0, line);
            }
        } else {
            chunk(&mut seed, *kind as u8, body);
        }
    }
    // the configuration with what follows it, and each line alone
    let mut rest = seed.as_slice();
    while let [_, a, b, ..] = rest {
        let len = 3 + usize::from(u16::from_le_bytes([*a, *b]));
        let (one, behind) = rest.split_at(len.min(rest.len()));
        seeds.push(one.to_vec());
        rest = behind;
    }
    seeds.push(seed);
    Ok(seeds)
}

fn chunk(seed: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let Ok(len) = u16::try_from(body.len()) else {
        return;
    };
    seed.push(kind);
    seed.extend(len.to_le_bytes());
    seed.extend(body);
}

/// The blocks of a capture with two of everything.
fn shortened(capture: &[u8]) -> Result<Vec<Block>> {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    let (mut blocks, mut packets) = (Vec::new(), 0);
    let mut rest = capture;
    while let [a, b, c, d, e, f, g, h, ..] = *rest {
        let kind = u32::from_le_bytes([a, b, c, d]);
        let len = u32::from_le_bytes([e, f, g, h]) as usize;
        let block = rest.get(..len).context("the capture is cut")?;
        rest = &rest[len..];
        let body = &block[8..len - 4];
        match kind {
            LINES => {
                let mut kept = lines(body, &mut kinds)?;
                if !kept.is_empty() {
                    kept.resize(kept.len().next_multiple_of(4), b'\n');
                    blocks.push((kind, kept));
                }
            }
            PACKET if packets == PACKETS => {}
            _ => {
                packets += usize::from(kind == PACKET);
                blocks.push((kind, body.to_vec()));
            }
        }
    }
    Ok(blocks)
}

/// The first lines of each kind, shortened.
fn lines(body: &[u8], kinds: &mut Vec<(String, usize)>) -> Result<Vec<u8>> {
    let mut kept = Vec::new();
    for line in body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let mut value: Value = serde_json::from_slice(line)?;
        let kind = kind_of(&value);
        let at = kinds.iter().position(|(k, _)| *k == kind);
        let at = at.unwrap_or_else(|| {
            kinds.push((kind, 0));
            kinds.len() - 1
        });
        kinds[at].1 += 1;
        if kinds[at].1 > LINES_OF_A_KIND {
            continue;
        }
        shorten(&mut value);
        serde_json::to_writer(&mut kept, &value)?;
        kept.push(b'\n');
    }
    Ok(kept)
}

/// `tick`, `event hop`, …
fn kind_of(line: &Value) -> String {
    let first = |v: &Value| v.as_object().and_then(|o| o.keys().next().cloned());
    let kind = first(line).unwrap_or_default();
    match first(&line["event"]["body"]) {
        Some(body) => format!("{kind} {body}"),
        None => kind,
    }
}

/// Leaves two elements of each list and of each table that is keyed by numbers or names of settings.
fn shorten(value: &mut Value) {
    match value {
        Value::Array(all) => {
            all.truncate(KEPT);
            all.iter_mut().for_each(shorten);
        }
        Value::Object(all) => {
            let number =
                |key: &String| key.contains('/') || key.bytes().all(|b| b.is_ascii_digit());
            let beyond: Vec<String> = all
                .keys()
                .filter(|k| number(k))
                .skip(KEPT)
                .cloned()
                .collect();
            for key in beyond {
                all.remove(&key);
            }
            all.values_mut().for_each(shorten);
        }
        _ => {}
    }
}

fn framed((kind, body): &Block) -> Vec<u8> {
    let len = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

use super::{MOKA, QUICK_CACHE, VALUE_SIZE, Value};
use std::fs;

const KEY_SIZE: usize = 16;

/// A 64-bit permutation (splitmix64), as bench/resident.c has it.
fn random(i: u64) -> u64 {
    let z = i.wrapping_add(0x9e3779b97f4a7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
    z ^ (z >> 31)
}

fn key(i: u64) -> [u8; KEY_SIZE] {
    std::array::from_fn(|at| b"0123456789abcdef"[(random(i) >> (4 * at) & 15) as usize])
}

fn value(i: u64) -> Value {
    key(i).repeat(VALUE_SIZE / KEY_SIZE).into()
}

fn resident() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}

/// Fills a cache for that many entries, stores a quarter more, and prints what
/// bench/memory.c prints.
pub fn run(system: &str, entries: u64) {
    let before = resident();
    let stores = 0..entries + entries / 4;
    let (about, n, after) = match system {
        "moka" => {
            let cache = moka::sync::Cache::builder()
                .max_capacity(entries)
                .build();
            for i in stores {
                cache.insert(key(i), value(i));
            }
            cache.run_pending_tasks();
            (MOKA, cache.entry_count(), resident())
        }
        "quick_cache" => {
            let cache = quick_cache::sync::Cache::new(entries as usize);
            for i in stores {
                cache.insert(key(i), value(i));
            }
            (QUICK_CACHE, cache.len() as u64, resident())
        }
        _ => panic!("no such system: {system}"),
    };
    println!(
        "{{\"bench\":\"memory\",\"system\":\"{system}\",\"about\":\"Rust {about}\",\
         \"entries\":{n},\"key\":{KEY_SIZE},\"value\":{VALUE_SIZE},\
         \"overhead_bytes\":{:.2}}}",
        (after - before) / n as f64 - (KEY_SIZE + VALUE_SIZE) as f64
    );
}

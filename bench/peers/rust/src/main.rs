//! Answers bench/turns.c as bench/serve.c does, for the caches of Rust:
//!
//!     peers SYSTEM FOLDER KIND CAPACITY
//!     peers stampede SYSTEM WAITERS
//!     peers memory SYSTEM ENTRIES

mod memory;
mod stampede;

use std::borrow::Borrow;
use std::fs;
use std::hash::Hash;
use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const SLICE: usize = 2048;
const VALUE_SIZE: usize = 64;
const MOKA: &str = "0.12.16";
const QUICK_CACHE: &str = "0.7.0";

/// Bytes of any size, cheap to clone: what both caches advise for values that
/// are not small.
type Value = Arc<[u8]>;

fn sum_of(v: &[u8]) -> u64 {
    let v: &[u8; VALUE_SIZE] = v.try_into().unwrap();
    v.chunks_exact(8)
        .map(|w| u64::from_le_bytes(w.try_into().unwrap()))
        .fold(0, u64::wrapping_add)
}

/// A cache. Q is what keys are looked up by.
trait Subject<Q: ?Sized>: Sync {
    fn put(&self, key: &Q, value: Value);
    fn get(&self, key: &Q) -> Value;
}

impl<Q> Subject<Q> for moka::sync::Cache<Q::Owned, Value>
where
    Q: ToOwned + Hash + Eq + ?Sized,
    Q::Owned: Borrow<Q> + Hash + Eq + Send + Sync + 'static,
{
    fn put(&self, key: &Q, value: Value) {
        self.insert(key.to_owned(), value);
    }
    fn get(&self, key: &Q) -> Value {
        self.get_with_by_ref(key, || panic!("a miss"))
    }
}

impl<Q> Subject<Q> for quick_cache::sync::Cache<Q::Owned, Value>
where
    Q: ToOwned + Hash + quick_cache::Equivalent<Q::Owned> + ?Sized,
    Q::Owned: Hash + Eq + Send + Sync,
{
    fn put(&self, key: &Q, value: Value) {
        self.insert(key.to_owned(), value);
    }
    fn get(&self, key: &Q) -> Value {
        self.get_or_insert_with(key, || -> Result<_, ()> { panic!("a miss") })
            .unwrap()
    }
}

/// What turns are made of. A key lies at a multiple of `stride` bytes, and
/// `view` makes of them what a program would have.
struct Server<'a, Q: ?Sized, S> {
    folder: &'a str,
    keys: &'a [u8],
    stride: usize,
    view: fn(&[u8]) -> &Q,
    subject: S,
}

fn read(folder: &str, name: &str) -> Vec<u8> {
    fs::read(format!("{folder}/{name}")).unwrap_or_else(|e| panic!("{name}: {e}"))
}

impl<Q: ?Sized, S: Subject<Q>> Server<'_, Q, S> {
    /// The keys of a turn in the order of the stream.
    fn arrange(&self, pattern: &str, t: usize, offset: usize, n: usize) -> Vec<u8> {
        let stream = read(self.folder, &format!("{pattern}.{t}"));
        let mut keys = Vec::with_capacity(n * self.stride);
        for i in stream[4 * offset..4 * (offset + n)].chunks_exact(4) {
            let at = u32::from_le_bytes(i.try_into().unwrap()) as usize * self.stride;
            keys.extend_from_slice(&self.keys[at..at + self.stride]);
        }
        keys
    }

    fn run(&self, keys: &[u8]) -> u64 {
        let mut sum = 0u64;
        for key in keys.chunks_exact(self.stride) {
            let value = self.subject.get((self.view)(key));
            sum = sum.wrapping_add(sum_of(&value));
        }
        sum
    }

    fn turn(&self, pattern: &str, threads: usize, n: [usize; 3]) -> String {
        let [offset, warm, ops] = n;
        let arrived = AtomicUsize::new(0);
        let work = |t| {
            let keys = self.arrange(pattern, t, offset, warm + ops);
            let (warm, keys) = keys.split_at(warm * self.stride);
            self.run(warm);
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < threads {
                std::thread::yield_now();
            }
            let mut sum = 0u64;
            let mut times = Vec::with_capacity(ops / SLICE + 1);
            for part in keys.chunks(SLICE * self.stride) {
                let begin = Instant::now();
                sum = sum.wrapping_add(self.run(part));
                let ns = begin.elapsed().as_nanos() as f64;
                times.push(ns / (part.len() / self.stride) as f64);
            }
            times.sort_by(f64::total_cmp);
            let mean = times.iter().sum::<f64>() / times.len() as f64;
            (times[times.len() / 2], mean, sum)
        };
        let results: Vec<(f64, f64, u64)> = std::thread::scope(|scope| {
            let work = &work;
            let all: Vec<_> = (0..threads).map(|t| scope.spawn(move || work(t))).collect();
            all.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let (mut median, mut mean, mut sum) = (0.0, 0.0, 0u64);
        for r in &results {
            median += r.0 / threads as f64;
            mean += r.1 / threads as f64;
            sum = sum.wrapping_add(r.2);
        }
        format!("{median:.3} {mean:.3} {sum}")
    }

    fn serve(&self, about: &str, values: &[u8]) {
        for (key, value) in self
            .keys
            .chunks_exact(self.stride)
            .zip(values.chunks_exact(VALUE_SIZE))
        {
            self.subject.put((self.view)(key), value.into());
        }
        for _ in 0..5 {
            self.run(self.keys);
        }
        println!("Rust {about}");
        for line in std::io::stdin().lock().lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            let number = |i: usize| words[i].parse().expect("not a turn");
            let n = [number(2), number(3), number(4)];
            println!("{}", self.turn(words[0], number(1), n));
        }
    }
}

fn serve<Q>(system: &str, folder: &str, kind: &str, capacity: usize, view: fn(&[u8]) -> &Q)
where
    Q: ToOwned + Hash + Eq + ?Sized,
    Q::Owned: Borrow<Q> + Hash + Eq + Send + Sync + 'static,
{
    let keys = read(folder, &format!("{kind}.keys"));
    let values = read(folder, &format!("{kind}.values"));
    let stride = if kind == "k16" { 16 } else { 64 };
    let (folder, keys) = (folder, &keys[..]);
    match system {
        "moka" => Server {
            folder,
            keys,
            stride,
            view,
            subject: moka::sync::Cache::builder()
                .max_capacity(capacity as u64)
                .initial_capacity(capacity)
                .build(),
        }
        .serve(MOKA, &values),
        "quick_cache" => Server {
            folder,
            keys,
            stride,
            view,
            subject: quick_cache::sync::Cache::new(capacity),
        }
        .serve(QUICK_CACHE, &values),
        _ => panic!("no such system: {system}"),
    }
}

fn k16(key: &[u8]) -> &[u8; 16] {
    key.try_into().unwrap()
}

fn url(key: &[u8]) -> &[u8] {
    &key[..key[63] as usize]
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[1..] {
        ["memory", system, entries] => memory::run(system, entries.parse().unwrap()),
        ["stampede", system, waiters] => stampede::run(system, waiters.parse().unwrap()),
        [system, folder, "k16", capacity] => {
            serve(system, folder, "k16", capacity.parse().unwrap(), k16)
        }
        [system, folder, "url", capacity] => {
            serve(system, folder, "url", capacity.parse().unwrap(), url)
        }
        _ => panic!(
            "usage: peers SYSTEM FOLDER KIND CAPACITY | stampede SYSTEM WAITERS | \
             memory SYSTEM ENTRIES"
        ),
    }
}

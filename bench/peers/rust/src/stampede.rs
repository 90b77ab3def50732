use super::{MOKA, QUICK_CACHE, Value};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const LOAD: Duration = Duration::from_millis(50);
const STACK: usize = 64 << 10;

/// The resident memory of this process as the kernel counts it, and the
/// kernel's own for threads and page tables, in bytes.
fn memory() -> i64 {
    let number = |file: &str, word: &str| -> i64 {
        fs::read_to_string(file)
            .unwrap()
            .lines()
            .find_map(|l| {
                l.strip_prefix(word)?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or(0)
    };
    1024 * (number("/proc/self/status", "VmRSS:")
        + number("/proc/meminfo", "KernelStack:")
        + number("/proc/meminfo", "PageTables:"))
}

/// Has that many threads ask for one key whose load takes 50 ms and doesn't end
/// before all have asked, and prints what bench/stampede.c prints.
pub fn run(system: &str, waiters: usize) {
    let moka = moka::sync::Cache::<u64, Value>::new(1024);
    let quick = quick_cache::sync::Cache::<u64, Value>::new(1024);
    let (arrived, loads) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let loading = AtomicBool::new(false);
    let end = Mutex::new((Instant::now(), 0));
    let before = memory();
    let load = || -> Value {
        loads.fetch_add(1, SeqCst);
        let begin = Instant::now();
        loading.store(true, SeqCst);
        while arrived.load(SeqCst) < waiters || begin.elapsed() < LOAD {
            thread::sleep(Duration::from_millis(1));
        }
        // The last to have arrived is given time to fall asleep.
        thread::sleep(Duration::from_millis(20));
        let during = memory();
        *end.lock().unwrap() = (Instant::now(), during);
        vec![0; super::VALUE_SIZE].into()
    };
    let get = || match system {
        "moka" => moka.get_with(1, load),
        "quick_cache" => quick
            .get_or_insert_with(&1, || Ok::<_, ()>(load()))
            .unwrap(),
        _ => panic!("no such system: {system}"),
    };
    let version = if system == "moka" { MOKA } else { QUICK_CACHE };
    let mut published = Instant::now();
    let awake: Vec<Instant> = thread::scope(|scope| {
        let loader = scope.spawn(|| {
            get();
            Instant::now()
        });
        while !loading.load(SeqCst) {
            thread::sleep(Duration::from_micros(100));
        }
        let all: Vec<_> = (0..waiters)
            .map(|_| {
                thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, || {
                        arrived.fetch_add(1, SeqCst);
                        assert_eq!(get().len(), super::VALUE_SIZE);
                        Instant::now()
                    })
                    .unwrap()
            })
            .collect();
        published = loader.join().unwrap();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let (end, during) = *end.lock().unwrap();
    let us = |t: Instant| (t - end).as_nanos() as f64 / 1e3;
    println!(
        "{{\"bench\":\"stampede\",\"system\":\"{system}\",\"language\":\"Rust\",\
         \"version\":\"{version}\",\"waiters\":{waiters},\"loads\":{},\"last_us\":{:.1},\
         \"publish_us\":{:.1},\"bytes_per_waiter\":{}}}",
        loads.load(SeqCst),
        us(awake.into_iter().max().unwrap()),
        us(published),
        (during - before) / waiters as i64
    );
}

import com.github.benmanes.caffeine.cache.Caffeine;
import com.github.benmanes.caffeine.cache.LoadingCache;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntFunction;

/**
 * Answers bench/turns.c as bench/serve.c does, for the caches of Java:
 *
 * <pre>
 * Peers SYSTEM FOLDER KIND CAPACITY
 * Peers stampede SYSTEM WAITERS
 * Peers memory SYSTEM ENTRIES
 * </pre>
 */
final class Peers {
    static final int SLICE = 2048;
    static final int VALUE_SIZE = 64;
    // The compilers of the virtual machine have done what they will after this.
    static final long WARM_UP_NS = 1_000_000L * Integer.getInteger("warm.ms", 2000);

    private static final VarHandle LONG =
            MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle INT =
            MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

    /** A key of 16 bytes, as a program would have one. */
    record Key(long high, long low) {}

    /** A cache; run looks up keys[from..to) and returns the sum of the values. */
    interface Subject {
        String about();

        void put(Object key, byte[] value);

        long run(Object[] keys, int from, int to);
    }

    static final class CaffeineSubject implements Subject {
        private final LoadingCache<Object, byte[]> cache;

        CaffeineSubject(long capacity) {
            cache = Caffeine.newBuilder()
                    .maximumSize(capacity)
                    .build(key -> {
                        throw new IllegalStateException("a miss");
                    });
        }

        @Override
        public String about() {
            return caffeineVersion();
        }

        @Override
        public void put(Object key, byte[] value) {
            cache.put(key, value);
        }

        @Override
        public long run(Object[] keys, int from, int to) {
            long sum = 0;
            for (int i = from; i < to; i++) {
                sum += sumOf(cache.get(keys[i]));
            }
            return sum;
        }
    }

    static final class MapSubject implements Subject {
        private final ConcurrentHashMap<Object, byte[]> map = new ConcurrentHashMap<>();

        @Override
        public String about() {
            return System.getProperty("java.version");
        }

        @Override
        public void put(Object key, byte[] value) {
            map.put(key, value);
        }

        @Override
        public long run(Object[] keys, int from, int to) {
            long sum = 0;
            for (int i = from; i < to; i++) {
                byte[] value = map.get(keys[i]);
                if (value == null) {
                    throw new IllegalStateException("a miss");
                }
                sum += sumOf(value);
            }
            return sum;
        }
    }

    /** As the name of its archive says. */
    static String caffeineVersion() {
        return Caffeine.class.getProtectionDomain().getCodeSource().getLocation().getPath()
                .replaceAll(".*caffeine-|[.]jar$", "");
    }

    static long sumOf(byte[] v) {
        return (long) LONG.get(v, 0) + (long) LONG.get(v, 8) + (long) LONG.get(v, 16)
                + (long) LONG.get(v, 24) + (long) LONG.get(v, 32) + (long) LONG.get(v, 40)
                + (long) LONG.get(v, 48) + (long) LONG.get(v, 56);
    }

    private final Path folder;
    private final IntFunction<Object> key;
    private final Subject subject;

    private Peers(Path folder, IntFunction<Object> key, Subject subject) {
        this.folder = folder;
        this.key = key;
        this.subject = subject;
    }

    private byte[] read(String name) {
        try {
            return Files.readAllBytes(folder.resolve(name));
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The keys of a turn, made anew: as one that has just come in, none knows its hash yet. */
    private Object[] arrange(String pattern, int thread, int offset, int n) {
        byte[] stream = read(pattern + "." + thread);
        Object[] keys = new Object[n];
        for (int i = 0; i < n; i++) {
            keys[i] = key.apply((int) INT.get(stream, 4 * (offset + i)));
        }
        return keys;
    }

    private final class Worker extends Thread {
        final Object[] keys;
        final int warm;
        final int threads;
        final AtomicInteger arrived;
        double ns;
        double meanNs;
        long sum;

        Worker(Object[] keys, int warm, int threads, AtomicInteger arrived) {
            this.keys = keys;
            this.warm = warm;
            this.threads = threads;
            this.arrived = arrived;
        }

        @Override
        public void run() {
            subject.run(keys, 0, warm);
            double[] times = new double[(keys.length - warm + SLICE - 1) / SLICE];
            arrived.incrementAndGet();
            while (arrived.get() < threads) {
                Thread.yield();
            }
            for (int i = 0, from = warm; i < times.length; i++, from += SLICE) {
                int to = Math.min(from + SLICE, keys.length);
                long begin = System.nanoTime();
                sum += subject.run(keys, from, to);
                times[i] = (double) (System.nanoTime() - begin) / (to - from);
            }
            meanNs = Arrays.stream(times).average().getAsDouble();
            Arrays.sort(times);
            ns = times[times.length / 2];
        }
    }

    private String turn(String pattern, int threads, int offset, int warm, int ops)
            throws InterruptedException {
        AtomicInteger arrived = new AtomicInteger();
        Worker[] workers = new Worker[threads];
        for (int t = 0; t < threads; t++) {
            workers[t] = new Worker(arrange(pattern, t, offset, warm + ops), warm, threads, arrived);
        }
        double ns = 0;
        double meanNs = 0;
        long sum = 0;
        for (Worker w : workers) {
            w.start();
        }
        for (Worker w : workers) {
            w.join();
            ns += w.ns / threads;
            meanNs += w.meanNs / threads;
            sum += w.sum;
        }
        return String.format(java.util.Locale.ROOT, "%.3f %.3f %s", ns, meanNs,
                Long.toUnsignedString(sum));
    }

    private void serve(String kind) throws IOException, InterruptedException {
        byte[] values = read(kind + ".values");
        for (int i = 0; i < values.length / VALUE_SIZE; i++) {
            subject.put(key.apply(i),
                    Arrays.copyOfRange(values, i * VALUE_SIZE, (i + 1) * VALUE_SIZE));
        }
        int stream = read("uniform.0").length / 4;
        int ops = Math.min(65536, stream / 4);
        for (String pattern : new String[] {"uniform", "zipf", "hot"}) {
            for (int threads = 1; threads <= 2; threads++) {
                long begin = System.nanoTime();
                for (int i = 0; System.nanoTime() - begin < WARM_UP_NS; i++) {
                    turn(pattern, threads, i % (stream / ops - 1) * ops, 0, ops);
                }
            }
        }
        System.out.println("Java " + subject.about());
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] w = line.split(" ");
            System.out.println(turn(w[0], Integer.parseInt(w[1]), Integer.parseInt(w[2]),
                    Integer.parseInt(w[3]), Integer.parseInt(w[4])));
        }
    }

    public static void main(String[] args) throws IOException, InterruptedException {
        if (args.length == 3 && args[0].equals("stampede")) {
            Stampede.run(args[1], Integer.parseInt(args[2]));
            return;
        }
        if (args.length == 3 && args[0].equals("memory")) {
            Memory.run(args[1], Integer.parseInt(args[2]));
            return;
        }
        if (args.length != 4) {
            System.err.println("usage: Peers SYSTEM FOLDER KIND CAPACITY"
                    + " | stampede SYSTEM WAITERS | memory SYSTEM ENTRIES");
            System.exit(2);
        }
        Path folder = Path.of(args[1]);
        byte[] keys = Files.readAllBytes(folder.resolve(args[2] + ".keys"));
        IntFunction<Object> key = args[2].equals("k16")
                ? i -> new Key((long) LONG.get(keys, 16 * i), (long) LONG.get(keys, 16 * i + 8))
                : i -> new String(keys, 64 * i, keys[64 * i + 63], StandardCharsets.ISO_8859_1);
        Subject subject = switch (args[0]) {
            case "caffeine" -> new CaffeineSubject(Long.parseLong(args[3]));
            case "chm" -> new MapSubject();
            default -> throw new IllegalArgumentException("no such system: " + args[0]);
        };
        new Peers(folder, key, subject).serve(args[2]);
    }

    private static final class Memory {
        /** A 64-bit permutation (splitmix64), as bench/resident.c has it. */
        static long random(long i) {
            long z = i + 0x9e3779b97f4a7c15L;
            z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
            z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
            return z ^ (z >>> 31);
        }

        /** What is in use on the heap: not what the collector keeps for later. */
        static long used() throws InterruptedException {
            for (int i = 0; i < 3; i++) {
                System.gc();
                Thread.sleep(100);
            }
            return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
        }

        /**
         * Fills a cache for that many entries, stores a quarter more if it is bounded, and prints
         * what bench/memory.c prints.
         */
        static void run(String system, int entries) throws InterruptedException {
            var caffeine = Caffeine.newBuilder().maximumSize(entries).<Key, byte[]>build();
            var map = new ConcurrentHashMap<Key, byte[]>();
            boolean bounded = system.equals("caffeine");
            long before = used();
            int stores = bounded ? entries + entries / 4 : entries;
            for (int i = 0; i < stores; i++) {
                Key key = new Key(random(i), random(~(long) i));
                byte[] value = new byte[VALUE_SIZE];
                if (bounded) {
                    caffeine.put(key, value);
                } else {
                    map.put(key, value);
                }
            }
            caffeine.cleanUp();
            long n = bounded ? caffeine.estimatedSize() : map.size();
            System.out.printf(java.util.Locale.ROOT,
                    "{\"bench\":\"memory\",\"system\":\"%s\",\"about\":\"Java %s, heap in use\","
                    + "\"entries\":%d,\"key\":16,\"value\":%d,\"overhead_bytes\":%.2f}%n",
                    system, bounded ? caffeineVersion() : System.getProperty("java.version"), n,
                    VALUE_SIZE, (double) (used() - before) / n - 16 - VALUE_SIZE);
        }
    }

    private static final class Stampede {
        static final long LOAD_NS = 50_000_000L;
        static final long STACK = 64 << 10;

        /** Resident memory as the kernel counts it, and the kernel's own for threads. */
        static long memory() throws IOException {
            return 1024 * (number("/proc/self/status", "VmRSS:")
                    + number("/proc/meminfo", "KernelStack:")
                    + number("/proc/meminfo", "PageTables:"));
        }

        static long number(String file, String word) throws IOException {
            for (String line : Files.readAllLines(Path.of(file))) {
                if (line.startsWith(word)) {
                    return Long.parseLong(line.substring(word.length()).trim().split(" ")[0]);
                }
            }
            return 0;
        }

        /**
         * Has that many threads ask for one key whose load takes 50 ms and doesn't end before all
         * have asked, and prints what bench/stampede.c prints.
         */
        static void run(String system, int waiters) throws IOException, InterruptedException {
            AtomicInteger arrived = new AtomicInteger();
            AtomicInteger loads = new AtomicInteger();
            long[] at = new long[4]; // load's end, loader's return, memory before and during
            java.util.function.Function<String, byte[]> load = k -> {
                loads.incrementAndGet();
                long begin = System.nanoTime();
                try {
                    while (arrived.get() < waiters || System.nanoTime() - begin < LOAD_NS) {
                        Thread.sleep(1);
                    }
                    // The last to have arrived is given time to fall asleep.
                    Thread.sleep(20);
                    at[3] = memory();
                } catch (IOException | InterruptedException e) {
                    throw new IllegalStateException(e);
                }
                at[0] = System.nanoTime();
                return new byte[VALUE_SIZE];
            };
            var caffeine = Caffeine.newBuilder().maximumSize(1024).<String, byte[]>build();
            var map = new ConcurrentHashMap<String, byte[]>();
            java.util.function.Supplier<byte[]> get = switch (system) {
                case "caffeine" -> () -> caffeine.get("key", load);
                case "chm" -> () -> map.computeIfAbsent("key", load);
                default -> throw new IllegalArgumentException("no such system: " + system);
            };
            long[] awake = new long[waiters];
            at[2] = memory();
            Thread loader = new Thread(() -> {
                get.get();
                at[1] = System.nanoTime();
            });
            loader.start();
            while (loads.get() == 0) {
                Thread.sleep(1);
            }
            Thread[] threads = new Thread[waiters];
            for (int i = 0; i < waiters; i++) {
                int me = i;
                threads[i] = new Thread(null, () -> {
                    arrived.incrementAndGet();
                    if (get.get().length != VALUE_SIZE) {
                        throw new IllegalStateException("not the value");
                    }
                    awake[me] = System.nanoTime();
                }, "waiter", STACK);
                threads[i].start();
            }
            loader.join();
            for (Thread t : threads) {
                t.join();
            }
            long last = Arrays.stream(awake).max().getAsLong();
            System.out.printf(java.util.Locale.ROOT,
                    "{\"bench\":\"stampede\",\"system\":\"%s\",\"language\":\"Java\","
                    + "\"version\":\"%s\",\"waiters\":%d,\"loads\":%d,\"last_us\":%.1f,"
                    + "\"publish_us\":%.1f,\"bytes_per_waiter\":%d}%n",
                    system,
                    system.equals("chm") ? System.getProperty("java.version")
                            : caffeineVersion(),
                    waiters, loads.get(), (last - at[0]) / 1e3, (at[1] - at[0]) / 1e3,
                    (at[3] - at[2]) / waiters);
        }
    }
}

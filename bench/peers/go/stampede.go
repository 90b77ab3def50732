package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const loadTime = 50 * time.Millisecond

// rss is the resident memory of this process as the kernel counts it, in bytes.
func rss() int64 {
	var size, resident int64
	fmt.Sscan(string(read("/proc/self", "statm")), &size, &resident)
	return resident * 4096
}

// stampede has that many goroutines ask for one key whose load takes 50 ms and
// doesn't end before all have asked, and prints what bench/stampede.c prints.
func stampede(system string, waiters int) {
	var (
		arrived, loads atomic.Int64
		loadEnd        time.Time
		wg             sync.WaitGroup
		awake          = make([]time.Duration, waiters)
		loading        = make(chan struct{})
		before, during int64
	)
	load := func(string) ([]byte, error) {
		loads.Add(1)
		begin := time.Now()
		close(loading)
		for arrived.Load() < int64(waiters) || time.Since(begin) < loadTime {
			time.Sleep(time.Millisecond)
		}
		// The last to have arrived is given time to fall asleep.
		time.Sleep(20 * time.Millisecond)
		during = rss()
		loadEnd = time.Now()
		return make([]byte, valueSize), nil
	}
	var get func() ([]byte, error)
	var about string
	switch system {
	case "otter":
		c := newOtter[string](1024)
		l := otter.LoaderFunc[string, []byte](
			func(_ context.Context, k string) ([]byte, error) { return load(k) })
		get = func() ([]byte, error) { return c.cache.Get(context.Background(), "key", l) }
		about = version("github.com/maypok86/otter/v2")
	case "singleflight":
		c := newSingleflight[string]()
		get = func() ([]byte, error) { return c.get("key", load) }
		about = version("golang.org/x/sync")
	case "memo4":
		c := newMemo4[string]()
		get = func() ([]byte, error) { return c.get("key", load) }
		about = version("")
	case "memo5":
		c := newMemo5[string]()
		get = func() ([]byte, error) { return c.get("key", load) }
		about = version("")
	default:
		fatal("no such system:", system)
	}
	runtime.GC()
	before = rss()
	var published time.Duration
	wg.Go(func() {
		get()
		published = time.Since(loadEnd)
	})
	<-loading
	for i := range waiters {
		wg.Go(func() {
			arrived.Add(1)
			if v, err := get(); err != nil || len(v) != valueSize {
				panic("not the value")
			}
			awake[i] = time.Since(loadEnd)
		})
	}
	wg.Wait()
	var last time.Duration
	for _, d := range awake {
		last = max(last, d)
	}
	fmt.Printf("{\"bench\":\"stampede\",\"system\":%q,\"language\":\"Go\","+
		"\"version\":%q,\"waiters\":%d,\"loads\":%d,\"last_us\":%.1f,"+
		"\"publish_us\":%.1f,\"bytes_per_waiter\":%d}\n",
		system, about, waiters, loads.Load(), float64(last)/1e3,
		float64(published)/1e3, (during-before)/int64(waiters))
}

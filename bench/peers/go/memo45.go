package main

import "sync"

// The two memoizing caches that end the chapter on concurrency of Donovan and
// Kernighan's "The Go Programming Language", built anew from its description.

type loadFunc[K comparable] func(K) ([]byte, error)

// future is a result that may not be there yet. done is closed when it is.
type future struct {
	done  chan struct{}
	value []byte
	err   error
}

// memo4 shares a map under a mutex. Who finds no future for a key puts one
// there, and fills it after giving up the mutex; everybody else waits for it.
type memo4[K comparable] struct {
	mu      sync.Mutex
	futures map[K]*future
}

func newMemo4[K comparable]() *memo4[K] {
	return &memo4[K]{futures: make(map[K]*future)}
}

func (m *memo4[K]) get(key K, load loadFunc[K]) ([]byte, error) {
	m.mu.Lock()
	f, found := m.futures[key]
	if found {
		m.mu.Unlock()
		<-f.done
		return f.value, f.err
	}
	f = &future{done: make(chan struct{})}
	m.futures[key] = f
	m.mu.Unlock()
	f.value, f.err = load(key)
	close(f.done)
	return f.value, f.err
}

func (m *memo4[K]) put(key K, value []byte) {
	m.get(key, func(K) ([]byte, error) { return value, nil })
}

func (m *memo4[K]) run(keys []K) uint64 {
	return runGet(m.get, keys)
}

// memo5 confines the map to one goroutine, the monitor, which is asked through
// a channel and has the answers delivered through channels that came along.
type memo5[K comparable] struct {
	requests chan request[K]
}

type request[K comparable] struct {
	key    K
	load   loadFunc[K]
	answer chan<- answer
}

type answer struct {
	value []byte
	err   error
}

func newMemo5[K comparable]() *memo5[K] {
	m := &memo5[K]{requests: make(chan request[K])}
	go m.monitor()
	return m
}

func (m *memo5[K]) monitor() {
	futures := make(map[K]*future)
	for r := range m.requests {
		f := futures[r.key]
		if f == nil {
			f = &future{done: make(chan struct{})}
			futures[r.key] = f
			go func() {
				f.value, f.err = r.load(r.key)
				close(f.done)
			}()
		}
		// The monitor itself waits for nothing but requests.
		go func() {
			<-f.done
			r.answer <- answer{f.value, f.err}
		}()
	}
}

func (m *memo5[K]) get(key K, load loadFunc[K]) ([]byte, error) {
	c := make(chan answer)
	m.requests <- request[K]{key, load, c}
	a := <-c
	return a.value, a.err
}

func (m *memo5[K]) put(key K, value []byte) {
	m.get(key, func(K) ([]byte, error) { return value, nil })
}

func (m *memo5[K]) run(keys []K) uint64 {
	return runGet(m.get, keys)
}

func runGet[K comparable](get func(K, loadFunc[K]) ([]byte, error), keys []K) uint64 {
	var sum uint64
	miss := func(K) ([]byte, error) { panic("a miss") }
	for _, key := range keys {
		v, err := get(key, miss)
		if err != nil {
			panic(err)
		}
		sum += sumOf(v)
	}
	return sum
}

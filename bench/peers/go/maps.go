package main

import (
	"fmt"
	"sync"

	"golang.org/x/sync/singleflight"
)

// syncMap is the standard library's map for "entries written once and read
// many times".
type syncMap[K comparable] struct {
	m sync.Map
}

func (c *syncMap[K]) put(key K, value []byte) {
	c.m.Store(key, value)
}

func (c *syncMap[K]) run(keys []K) uint64 {
	var sum uint64
	for _, key := range keys {
		v, ok := c.m.Load(key)
		if !ok {
			panic("a miss")
		}
		sum += sumOf(v.([]byte))
	}
	return sum
}

// flightMap is a map behind a readers' lock, and singleflight for the misses.
type flightMap[K comparable] struct {
	mu     sync.RWMutex
	m      map[K][]byte
	flight singleflight.Group
}

func newSingleflight[K comparable]() *flightMap[K] {
	return &flightMap[K]{m: make(map[K][]byte)}
}

func (c *flightMap[K]) put(key K, value []byte) {
	c.mu.Lock()
	c.m[key] = value
	c.mu.Unlock()
}

func (c *flightMap[K]) get(key K, load func(K) ([]byte, error)) ([]byte, error) {
	c.mu.RLock()
	value, ok := c.m[key]
	c.mu.RUnlock()
	if ok {
		return value, nil
	}
	v, err, _ := c.flight.Do(fmt.Sprint(key), func() (any, error) {
		value, err := load(key)
		if err == nil {
			c.put(key, value)
		}
		return value, err
	})
	return v.([]byte), err
}

func (c *flightMap[K]) run(keys []K) uint64 {
	var sum uint64
	miss := func(K) ([]byte, error) { panic("a miss") }
	for _, key := range keys {
		v, err := c.get(key, miss)
		if err != nil {
			panic(err)
		}
		sum += sumOf(v)
	}
	return sum
}

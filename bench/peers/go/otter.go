package main

import (
	"context"

	"github.com/maypok86/otter/v2"
)

// otterCache is a bounded loading cache of otter's.
type otterCache[K comparable] struct {
	cache *otter.Cache[K, []byte]
	load  otter.Loader[K, []byte]
}

func newOtter[K comparable](capacity int) *otterCache[K] {
	return &otterCache[K]{
		cache: otter.Must(&otter.Options[K, []byte]{MaximumSize: capacity}),
		load: otter.LoaderFunc[K, []byte](
			func(context.Context, K) ([]byte, error) { panic("a miss") }),
	}
}

func (c *otterCache[K]) put(key K, value []byte) {
	c.cache.Set(key, value)
}

func (c *otterCache[K]) run(keys []K) uint64 {
	var sum uint64
	ctx := context.Background()
	for _, key := range keys {
		v, err := c.cache.Get(ctx, key, c.load)
		if err != nil {
			panic(err)
		}
		sum += sumOf(v)
	}
	return sum
}

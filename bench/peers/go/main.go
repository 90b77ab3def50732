// Answers bench/turns.c as bench/serve.c does, for the caches of Go:
//
//	peers SYSTEM FOLDER KIND CAPACITY
//	peers stampede SYSTEM WAITERS
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	slice     = 2048
	valueSize = 64
)

// A subject is a cache of one kind of keys.
type subject[K comparable] interface {
	put(key K, value []byte)
	// run looks up every key and returns the sum of the words of the values.
	run(keys []K) uint64
}

func sumOf(v []byte) uint64 {
	_ = v[valueSize-1]
	le := binary.LittleEndian
	return le.Uint64(v) + le.Uint64(v[8:]) + le.Uint64(v[16:]) +
		le.Uint64(v[24:]) + le.Uint64(v[32:]) + le.Uint64(v[40:]) +
		le.Uint64(v[48:]) + le.Uint64(v[56:])
}

// A server holds what turns are made of. key makes a key as a program would
// have it, from its place in the file.
type server[K comparable] struct {
	folder  string
	key     func(i uint32) K
	subject subject[K]
	streams map[string][]byte
}

func read(folder, name string) []byte {
	b, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		fatal(err)
	}
	return b
}

func fatal(what ...any) {
	fmt.Fprintln(os.Stderr, what...)
	os.Exit(1)
}

func (s *server[K]) arrange(pattern string, t, offset, n int) []K {
	name := pattern + "." + strconv.Itoa(t)
	if s.streams[name] == nil {
		s.streams[name] = read(s.folder, name)
	}
	stream := s.streams[name][4*offset:]
	keys := make([]K, n)
	for i := range keys {
		keys[i] = s.key(binary.LittleEndian.Uint32(stream[4*i:]))
	}
	return keys
}

func (s *server[K]) turn(pattern string, threads, offset, warm, ops int) string {
	var (
		arrived atomic.Int32
		wg      sync.WaitGroup
		ns      = make([]float64, threads)
		meanNs  = make([]float64, threads)
		sum     = make([]uint64, threads)
	)
	for t := range threads {
		keys := s.arrange(pattern, t, offset, warm+ops)
		wg.Go(func() {
			s.subject.run(keys[:warm])
			keys = keys[warm:]
			times := make([]float64, 0, len(keys)/slice+1)
			arrived.Add(1)
			for int(arrived.Load()) < threads {
				runtime.Gosched()
			}
			for part := range slices.Chunk(keys, slice) {
				begin := time.Now()
				sum[t] += s.subject.run(part)
				times = append(times,
					float64(time.Since(begin))/float64(len(part)))
			}
			for _, ns := range times {
				meanNs[t] += ns / float64(len(times))
			}
			slices.Sort(times)
			ns[t] = times[len(times)/2]
		})
	}
	wg.Wait()
	var median, mean float64
	var total uint64
	for t := range threads {
		median += ns[t] / float64(threads)
		mean += meanNs[t] / float64(threads)
		total += sum[t]
	}
	return fmt.Sprintf("%.3f %.3f %d", median, mean, total)
}

func (s *server[K]) serve(about string, values []byte) {
	n := len(values) / valueSize
	keys := make([]K, n)
	for i := range keys {
		keys[i] = s.key(uint32(i))
		s.subject.put(keys[i], slices.Clone(values[i*valueSize:(i+1)*valueSize]))
	}
	for range 5 {
		s.subject.run(keys)
	}
	keys = nil
	fmt.Println("Go", about)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var pattern string
		var threads, offset, warm, ops int
		if _, err := fmt.Sscan(in.Text(), &pattern, &threads, &offset, &warm, &ops); err != nil {
			fatal("not a turn:", in.Text())
		}
		fmt.Println(s.turn(pattern, threads, offset, warm, ops))
	}
}

// version says which version of a module this was built with; the language's
// own, for what is part of it.
func version(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == module {
				return strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return strings.TrimPrefix(runtime.Version(), "go")
}

func newSubject[K comparable](system string, capacity int) (subject[K], string) {
	switch system {
	case "otter":
		return newOtter[K](capacity), version("github.com/maypok86/otter/v2")
	case "singleflight":
		return newSingleflight[K](), version("golang.org/x/sync")
	case "syncmap":
		return new(syncMap[K]), version("")
	case "memo4":
		return newMemo4[K](), version("")
	case "memo5":
		return newMemo5[K](), version("")
	}
	fatal("no such system:", system)
	return nil, ""
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "stampede" {
		waiters, _ := strconv.Atoi(os.Args[3])
		stampede(os.Args[2], waiters)
		return
	}
	if len(os.Args) != 5 {
		fatal("usage: peers SYSTEM FOLDER KIND CAPACITY | stampede SYSTEM WAITERS")
	}
	system, folder, kind := os.Args[1], os.Args[2], os.Args[3]
	capacity, _ := strconv.Atoi(os.Args[4])
	bytes := read(folder, kind+".keys")
	values := read(folder, kind+".values")
	streams := map[string][]byte{}
	if kind == "k16" {
		key := func(i uint32) [16]byte { return [16]byte(bytes[16*i:]) }
		sub, about := newSubject[[16]byte](system, capacity)
		s := server[[16]byte]{folder, key, sub, streams}
		s.serve(about, values)
	} else {
		// A new string each time, as one that has just come in.
		key := func(i uint32) string {
			k := bytes[64*int(i):]
			return string(k[:k[63]])
		}
		sub, about := newSubject[string](system, capacity)
		s := server[string]{folder, key, sub, streams}
		s.serve(about, values)
	}
}

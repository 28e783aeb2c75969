//
// test/bench/peers/go/main.go
// ~~~~~~~~~~~~~~~~~~~~~~~~~~~
// The workloads in Go: the scheduler that the others are compared with.
//
// Distributed under the Boost Software License, Version 1.0.
// (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
//

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	wave            = 1000 // goroutines between two joins of spawn, and at a time in yield
	channelCapacity = 128
)

type extra struct {
	name  string
	value float64
}

type result struct {
	value float64
	extra []extra
}

type options struct {
	workload string
	threads  int
	count    int
	seconds  float64
	port     int
	json     bool
}

var errOneThread = errors.New("'switch' is measured with one thread")

type workload struct {
	run   func(o options) (result, error)
	count int
	unit  string
}

// The sizes and units; bench.cpp has the same table.
var workloads = map[string]workload{
	"spawn":         {spawn, 1_000_000, "ns/fiber"},
	"yield":         {yield, 1_000_000, "ns/switch"},
	"switch":        {handOver, 5_000_000, "ns/switch"},
	"pingpong":      {pingpong, 1_000_000, "ns/round-trip"},
	"buffered":      {func(o options) (result, error) { return buffered(o, 1) }, 5_000_000, "ns/item"},
	"buffered44":    {func(o options) (result, error) { return buffered(o, 4) }, 5_000_000, "ns/item"},
	"select":        {selectFour, 1_000_000, "ns/item"},
	"mutex":         {func(o options) (result, error) { return mutex(o, false) }, 10_000_000, "ns/lock"},
	"mutex_yield":   {func(o options) (result, error) { return mutex(o, true) }, 1_000_000, "ns/lock"},
	"shared_mutex":  {sharedMutex, 10_000_000, "ns/lock"},
	"skynet":        {skynet, 1_000_000, "ms"},
	"divide":        {divide, 16_384, "ms"},
	"parked":        {parked, 100_000, "us/fiber"},
	"timers":        {timers, 100_000, "ms"},
	"semaphore":     {semaphore, 1_000_000, "ns/acquire"},
	"wait_group":    {waitGroup, 10_000_000, "ns/done"},
	"echo":          {echo, 0, "requests/s"},
	"http":          {httpHello, 0, "requests/s"},
	"hog":           {hog, 500, "us"},
	"hog_echo":      {hogEcho, 0, "requests/s"},
	"blocking":      {blocking, 1000, "ms"},
	"blocking_cost": {blockingCost, 1_000_000, "ns/call"},
	"blocked_echo":  {blockedEcho, 0, "requests/s"},
}

func perCount(start time.Time, o options) (result, error) {
	return result{value: float64(time.Since(start).Nanoseconds()) / float64(o.count)}, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// parallel runs n goroutines and waits for them.
func parallel(n int, body func(i int)) {
	var wg sync.WaitGroup
	wg.Add(n)
	for i := 0; i < n; i++ {
		go func(i int) {
			body(i)
			wg.Done()
		}(i)
	}
	wg.Wait()
}

func spawn(o options) (result, error) {
	start := time.Now()
	for left := o.count; left > 0; left -= wave {
		n := wave
		if left < n {
			n = left
		}
		var wg sync.WaitGroup
		wg.Add(n)
		for i := 0; i < n; i++ {
			go wg.Done()
		}
		wg.Wait()
	}
	return perCount(start, o)
}

func yield(o options) (result, error) {
	start := time.Now()
	parallel(wave, func(int) {
		for i := 0; i < o.count/wave; i++ {
			runtime.Gosched()
		}
	})
	return perCount(start, o)
}

// handOver is the workload switch. Gosched, and not a pair of unbuffered
// channels: it is what the other contenders do (yield), and the faster of the
// two for Go, though it goes through the global queue.
func handOver(o options) (result, error) {
	if o.threads != 1 {
		return result{}, errOneThread
	}
	start := time.Now()
	parallel(2, func(int) {
		for i := 0; i < o.count/2; i++ {
			runtime.Gosched()
		}
	})
	return perCount(start, o)
}

func pingpong(o options) (result, error) {
	ping, pong := make(chan int), make(chan int)
	start := time.Now()
	go func() {
		for v := range ping {
			pong <- v
		}
	}()
	for i := 0; i < o.count; i++ {
		ping <- i
		<-pong
	}
	close(ping)
	return perCount(start, o)
}

// buffered has `pairs` producers and as many consumers on one channel.
func buffered(o options, pairs int) (result, error) {
	ch := make(chan int, channelCapacity)
	start := time.Now()
	parallel(2*pairs, func(i int) {
		if i < pairs {
			for k := 0; k < o.count/pairs; k++ {
				ch <- k
			}
		} else {
			for k := 0; k < o.count/pairs; k++ {
				<-ch
			}
		}
	})
	return perCount(start, o)
}

func selectFour(o options) (result, error) {
	var chs [4]chan int
	start := time.Now()
	for i := range chs {
		chs[i] = make(chan int)
		go func(ch chan<- int) {
			for k := 0; k < o.count/len(chs); k++ {
				ch <- k
			}
		}(chs[i])
	}
	for k := 0; k < o.count/len(chs)*len(chs); k++ {
		select {
		case <-chs[0]:
		case <-chs[1]:
		case <-chs[2]:
		case <-chs[3]:
		}
	}
	return perCount(start, o)
}

func mutex(o options, yielding bool) (result, error) {
	const goroutines = 8
	var mu sync.Mutex
	total := 0
	start := time.Now()
	parallel(goroutines, func(int) {
		for i := 0; i < o.count/goroutines; i++ {
			mu.Lock()
			total++
			if yielding {
				runtime.Gosched()
			}
			mu.Unlock()
		}
	})
	return perCount(start, o)
}

// Each twentieth lock is a writer's.
func sharedMutex(o options) (result, error) {
	const goroutines = 8
	var mu sync.RWMutex
	var sum atomic.Int64
	total := 0
	start := time.Now()
	parallel(goroutines, func(int) {
		seen := 0
		for i := 0; i < o.count/goroutines; i++ {
			if i%20 == 0 {
				mu.Lock()
				total++
				mu.Unlock()
			} else {
				mu.RLock()
				seen += total
				mu.RUnlock()
			}
		}
		sum.Add(int64(seen))
	})
	return perCount(start, o)
}

// semaphore is what Go programs use for one: a channel with a slot for each permit.
func semaphore(o options) (result, error) {
	const goroutines, permits = 8, 4
	sem := make(chan struct{}, permits)
	start := time.Now()
	parallel(goroutines, func(int) {
		for i := 0; i < o.count/goroutines; i++ {
			sem <- struct{}{}
			runtime.Gosched()
			<-sem
		}
	})
	return perCount(start, o)
}

func waitGroup(o options) (result, error) {
	const goroutines = 8
	var wg sync.WaitGroup
	wg.Add(o.count / goroutines * goroutines)
	start := time.Now()
	for i := 0; i < goroutines; i++ {
		go func() {
			for k := 0; k < o.count/goroutines; k++ {
				wg.Done()
			}
		}()
	}
	wg.Wait()
	return perCount(start, o)
}

func skynetNode(parent chan<- int, number, size int) {
	if size == 1 {
		parent <- number
		return
	}
	children := make(chan int)
	for i := 0; i < 10; i++ {
		go skynetNode(children, number+i*size/10, size/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	parent <- sum
}

func compute(x uint64) uint64 {
	x++
	for i := 0; i < 5000; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

func divideNode(first, leaves int) uint64 {
	if leaves == 1 {
		return compute(uint64(first))
	}
	half := leaves / 2
	left := make(chan uint64, 1)
	go func() { left <- divideNode(first, half) }()
	rest := divideNode(first+half, leaves-half)
	return <-left + rest
}

func divide(o options) (result, error) {
	expected := divideNode(0, o.count)
	start := time.Now()
	if divideNode(0, o.count) != expected {
		return result{}, errors.New("divide: wrong sum")
	}
	return result{value: milliseconds(time.Since(start))}, nil
}

func skynet(o options) (result, error) {
	leaves := 1
	for leaves < o.count {
		leaves *= 10
	}
	start := time.Now()
	root := make(chan int)
	go skynetNode(root, 0, leaves)
	if sum := <-root; sum != leaves*(leaves-1)/2 {
		return result{}, fmt.Errorf("skynet: wrong sum %d", sum)
	}
	took := time.Since(start)
	return result{milliseconds(took), []extra{{"peak_mb", statusKB("VmHWM:") / 1024}}}, nil
}

// statusKB is a field of /proc/self/status that is given in kB.
func statusKB(field string) float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, field) {
			var kb float64
			fmt.Sscan(line[len(field):], &kb)
			return kb
		}
	}
	return 0
}

func residentBytes() float64 {
	statm, _ := os.ReadFile("/proc/self/statm")
	var total, resident float64
	fmt.Sscan(string(statm), &total, &resident)
	return resident * float64(os.Getpagesize())
}

func parked(o options) (result, error) {
	debug.FreeOSMemory()
	resident, tables := residentBytes(), statusKB("VmPTE:")
	gate := make(chan struct{})
	var arrived atomic.Int64
	var wg sync.WaitGroup
	wg.Add(o.count)

	start := time.Now()
	for i := 0; i < o.count; i++ {
		go func() {
			arrived.Add(1)
			<-gate
			wg.Done()
		}()
	}
	for arrived.Load() < int64(o.count) {
		runtime.Gosched()
	}
	took := time.Since(start)

	resident, tables = residentBytes()-resident, statusKB("VmPTE:")-tables

	start = time.Now()
	close(gate)
	wg.Wait()
	took += time.Since(start)

	n := float64(o.count)
	return result{milliseconds(took) * 1000 / n,
		[]extra{{"bytes", resident / n}, {"page_table_bytes", tables * 1024 / n}}}, nil
}

// nap is how long sleeper i sleeps: 10 to 20 ms, the same in each run.
func nap(i int) time.Duration {
	return time.Duration(10_000+uint32(i)*2654435761%10_001) * time.Microsecond
}

func timers(o options) (result, error) {
	start := time.Now()
	parallel(o.count, func(i int) { time.Sleep(nap(i)) })
	return result{value: milliseconds(time.Since(start))}, nil
}

func echoSession(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err = conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func listen(o options) (net.Listener, error) {
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", o.port))
	if err != nil {
		return nil, err
	}
	fmt.Println("ready", listener.Addr().(*net.TCPAddr).Port)
	if o.seconds > 0 {
		time.AfterFunc(time.Duration(o.seconds*float64(time.Second)), func() { os.Exit(0) })
	}
	return listener, nil
}

func echo(o options) (result, error) {
	listener, err := listen(o)
	if err != nil {
		return result{}, err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return result{}, err
		}
		go echoSession(conn)
	}
}

// httpHello answers as http.hpp does: no date, and a type that is known.
func httpHello(o options) (result, error) {
	listener, err := listen(o)
	if err != nil {
		return result{}, err
	}
	hello := []byte("hello\n")
	return result{}, http.Serve(listener, http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			header := w.Header()
			header["Date"] = nil
			header.Set("Server", "bench")
			header.Set("Content-Type", "text/plain")
			w.Write(hello)
		}))
}

// spin is a hog: it computes until told to end, or for as long as bench.hpp says.
func spin(over *atomic.Bool) {
	for start := time.Now(); !over.Load() && time.Since(start) < 2*time.Second; {
	}
}

// hog measures how late the ticks of a goroutine come, while as many others as
// there are threads never stop computing.
func hog(o options) (result, error) {
	var over atomic.Bool
	for i := 0; i < o.threads; i++ {
		go spin(&over)
	}
	late := make([]float64, 0, o.count)
	start := time.Now()
	for tick := 1; tick <= o.count; tick++ {
		due := start.Add(time.Duration(tick) * time.Millisecond)
		time.Sleep(time.Until(due))
		late = append(late, float64(time.Since(due).Nanoseconds())/1000)
	}
	over.Store(true)
	sort.Float64s(late)
	return result{late[len(late)*99/100], []extra{{"p50_us", late[len(late)/2]}}}, nil
}

func hogEcho(o options) (result, error) {
	for i := 0; i < o.threads; i++ {
		go func() {
			for {
			}
		}()
	}
	return echo(o)
}

// sleepInKernel blocks its thread: a system call that the runtime cannot wait for
// in another way.
func sleepInKernel(d time.Duration) {
	left := syscall.NsecToTimespec(d.Nanoseconds())
	for syscall.Nanosleep(&left, &left) == syscall.EINTR {
	}
}

func blocking(o options) (result, error) {
	start := time.Now()
	parallel(o.count, func(int) { sleepInKernel(10 * time.Millisecond) })
	return result{value: milliseconds(time.Since(start))}, nil
}

// blockingCost is what the runtime adds to a system call: entersyscall and
// exitsyscall.
func blockingCost(o options) (result, error) {
	start := time.Now()
	for i := 0; i < o.count; i++ {
		syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
	}
	alone := time.Since(start)
	start = time.Now()
	for i := 0; i < o.count; i++ {
		syscall.Syscall(syscall.SYS_GETPPID, 0, 0, 0)
	}
	took := time.Since(start) - alone
	return result{value: float64(took.Nanoseconds()) / float64(o.count)}, nil
}

func blockedEcho(o options) (result, error) {
	go func() {
		for {
			sleepInKernel(time.Second)
		}
	}()
	return echo(o)
}

func print(o options, unit string, r result) {
	if o.json {
		object := map[string]any{"peer": "go", "workload": o.workload, "threads": o.threads,
			"count": o.count, "value": r.value, "unit": unit}
		for _, e := range r.extra {
			object[e.name] = e.value
		}
		line, _ := json.Marshal(object)
		fmt.Println(string(line))
		return
	}
	fmt.Printf("workload=%s threads=%d value=%.3f unit=%s", o.workload, o.threads, r.value, unit)
	for _, e := range r.extra {
		fmt.Printf(" %s=%.3f", e.name, e.value)
	}
	fmt.Println()
}

func main() {
	var o options
	flag.StringVar(&o.workload, "workload", "", "what to measure")
	flag.IntVar(&o.threads, "threads", 1, "threads that run goroutines")
	flag.IntVar(&o.count, "count", 0, "size of the workload")
	flag.Float64Var(&o.seconds, "seconds", 0, "echo: end after so long")
	flag.IntVar(&o.port, "port", 0, "echo: listen here, 0 for any")
	flag.BoolVar(&o.json, "json", false, "print an object and not a line")
	flag.Parse()

	w, found := workloads[o.workload]
	if !found {
		fmt.Fprintf(os.Stderr, "go has no workload '%s'\n", o.workload)
		os.Exit(2)
	}
	if o.count == 0 {
		o.count = w.count
	}
	runtime.GOMAXPROCS(o.threads)
	r, err := w.run(o)
	if errors.Is(err, errOneThread) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "go:", err)
		os.Exit(1)
	}
	print(o, w.unit, r)
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Machine is what the figures were taken on.
type Machine struct {
	Cores      int     `json:"cores"`
	Go         string  `json:"go"`
	Broker     string  `json:"nats_server"`
	FileSystem string  `json:"file_system"`
	FsyncMS    float64 `json:"fsync_ms"`
}

// unknown is what a system without /proc tells.
const unknown = "unknown"

// inspect looks at the machine and at the disk that dir is on.
func inspect(dir string) (Machine, error) {
	cost, err := fsyncCost(dir)
	if err != nil {
		return Machine{}, fmt.Errorf("measure fsync: %w", err)
	}
	return Machine{
		Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(), Broker: brokerVersion(),
		FileSystem: fileSystem(dir), FsyncMS: milliseconds(cost),
	}, nil
}

// fsyncCost is the median time to append 1 KB to a file and sync it.
func fsyncCost(dir string) (time.Duration, error) {
	file, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return 0, err
	}
	defer file.Close()
	taken := make([]time.Duration, 100)
	for i := range taken {
		started := time.Now()
		if _, err := file.Write(make([]byte, 1024)); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		taken[i] = time.Since(started)
	}
	slices.Sort(taken)
	return percentile(taken, 50), nil
}

// fileSystem is the type of the file system that dir is on.
func fileSystem(dir string) string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return unknown
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return unknown
	}
	return mounted(string(mounts), dir)
}

// mounted finds the innermost mount above dir in the format of fstab(5).
func mounted(mounts, dir string) string {
	kind, depth := unknown, 0
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		at := strings.TrimSuffix(f[1], "/") + "/"
		if strings.HasPrefix(dir+"/", at) && len(at) >= depth {
			kind, depth = f[2], len(at)
		}
	}
	return kind
}

// peakRSS is the largest resident size so far, in bytes; 0 where unknown.
func peakRSS() uint64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	kb, _ := strconv.ParseUint(string(bytes.TrimSpace(line)), 10, 64)
	return kb << 10
}

// usage is what the process has used so far.
type usage struct {
	cpu           time.Duration
	bytes, allocs uint64
	heap          uint64 // in use now
}

func usageNow() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{cpu: cpuTime(), bytes: m.TotalAlloc, allocs: m.Mallocs, heap: m.HeapInuse}
}

func (u usage) since(before usage) usage {
	return usage{cpu: u.cpu - before.cpu, bytes: u.bytes - before.bytes, allocs: u.allocs - before.allocs, heap: u.heap}
}

// tick is the unit of CPU time in /proc, the same on every Linux.
const tick = 10 * time.Millisecond

// cpuTime is the CPU time used so far, in user and kernel; 0 where unknown.
func cpuTime() time.Duration {
	stat, _ := os.ReadFile("/proc/self/stat")
	// The second field is the program's name in parentheses, which may hold
	// spaces; user and kernel time are the 12th and 13th after it.
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	fields := bytes.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
	kernel, _ := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(user+kernel) * tick
}

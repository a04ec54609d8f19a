// reporting_child.go - reporting_child (reporting_child.c) as a Go program that is linked dynamically: reports the devices of its sockets
//
// Built with cgo, as Debian's Go programs are: ld.so loads what LD_PRELOAD names, and sockets are made by the instruction.
package main

import "C"

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// As in child_report.h.
const answerFd = 197

func answer(domain, kind int) {
	fd, err := syscall.Socket(domain, kind, 0)
	line := ""
	if err != nil {
		line = fmt.Sprintf("errno %d", err.(syscall.Errno))
	} else {
		// A buffer of 20 bytes; the name has 16.
		name, err := syscall.GetsockoptIPv6Mreq(fd, syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE)
		if err != nil {
			os.Exit(126)
		}
		line, _, _ = strings.Cut(string(name.Multiaddr[:]), "\x00")
		if line == "" {
			line = "none"
		}
	}
	var stat syscall.Stat_t
	isSocket := syscall.Fstat(answerFd, &stat) == nil && stat.Mode&syscall.S_IFMT == syscall.S_IFSOCK
	isLookedAt := err == nil && isSocket
	if isLookedAt {
		line += fmt.Sprintf(" %d %d", os.Getpid(), fd)
	}
	if _, err := syscall.Write(answerFd, []byte(line+"\n")); err != nil {
		os.Exit(126)
	}
	if isLookedAt {
		syscall.Read(answerFd, make([]byte, 1))
	}
}

func main() {
	answer(syscall.AF_INET, syscall.SOCK_DGRAM)
	answer(syscall.AF_INET6, syscall.SOCK_STREAM)
}

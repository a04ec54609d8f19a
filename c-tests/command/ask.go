// ask.go - what Go programs do with sockets: prints what it gets, serves, fetches and resolves
//
//	ask-go tcp        the device of a TCP socket
//	ask-go serve ADDRESS TEXT  an HTTP server; prints "serves ADDRESS" with the port that it got
//	ask-go get URL    what a server answers
//	ask-go exporter ADDRESS URL  an HTTP server that answers what another one answers
//	ask-go resolve NAME
//	ask-go many N     N sockets, each in a goroutine of its own, while the collector keeps stopping them all
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func device() (string, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return "", err
	}
	defer syscall.Close(fd)
	// A buffer of 20 bytes; the name has 16.
	name, err := syscall.GetsockoptIPv6Mreq(fd, syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE)
	if err != nil {
		return "", err
	}
	text, _, _ := strings.Cut(string(name.Multiaddr[:]), "\x00")
	if text == "" {
		text = "unbound"
	}
	return text, nil
}

func get(url string) (string, error) {
	answer, err := http.Get(url)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

func main() {
	switch os.Args[1] {
	case "tcp":
		name, err := device()
		must(err)
		fmt.Println("tcp", name)
	case "serve":
		listener, err := net.Listen("tcp", os.Args[2])
		must(err)
		fmt.Println("serves", listener.Addr())
		must(http.Serve(listener, http.HandlerFunc(func(to http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(to, os.Args[3])
		})))
	case "get":
		text, err := get(os.Args[2])
		must(err)
		fmt.Print(text)
	case "exporter":
		listener, err := net.Listen("tcp", os.Args[2])
		must(err)
		fmt.Println("serves", listener.Addr())
		must(http.Serve(listener, http.HandlerFunc(func(to http.ResponseWriter, _ *http.Request) {
			text, err := get(os.Args[3])
			if err != nil {
				text = err.Error() + "\n"
			}
			fmt.Fprint(to, text)
		})))
	case "resolve":
		addresses, err := net.LookupHost(os.Args[2])
		must(err)
		fmt.Println(addresses)
	case "many":
		count, err := strconv.Atoi(os.Args[2])
		must(err)
		want, err := device()
		must(err)
		var group sync.WaitGroup
		var good int64
		for i := 0; i < count; i++ {
			group.Add(1)
			go func() {
				defer group.Done()
				if name, err := device(); err == nil && name == want {
					atomic.AddInt64(&good, 1)
				}
				runtime.GC()
			}()
		}
		group.Wait()
		fmt.Println("many", good, "on", want)
	}
}

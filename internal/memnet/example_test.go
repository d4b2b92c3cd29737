package memnet_test

import (
	"context"
	"fmt"
	"io"

	"github.com/tulle-mesh/tulle/internal/memnet"
)

func ExampleNetwork() {
	n := memnet.New()
	l, err := n.Listen("echo:7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.Copy(conn, conn)
	}()
	conn, err := n.DialContext(context.Background(), "tcp", "echo:7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	io.WriteString(conn, "hello")
	conn.(*memnet.Conn).CloseWrite()
	b, err := io.ReadAll(conn)
	fmt.Println(string(b), err)

	_, err = n.DialContext(context.Background(), "tcp", "chargen:19")
	fmt.Println(err)
	// Output:
	// hello <nil>
	// dial tcp chargen:19: connect: connection refused
}

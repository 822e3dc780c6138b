// A frontend that means harm: makes COUNT calls of one KIND on its bridge and returns an error that tells how it went.
// It is an image's entrypoint; options: flood=KIND, count=COUNT.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/buildkit/client/llb"
	pb "github.com/moby/buildkit/frontend/gateway/pb"
	opspb "github.com/moby/buildkit/solver/pb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

var version = "unknown"

type stdio struct{}

func (stdio) Read(p []byte) (int, error)       { return os.Stdin.Read(p) }
func (stdio) Write(p []byte) (int, error)      { return os.Stdout.Write(p) }
func (stdio) Close() error                     { return os.Stdout.Close() }
func (stdio) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (stdio) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (stdio) SetDeadline(time.Time) error      { return nil }
func (stdio) SetReadDeadline(time.Time) error  { return nil }
func (stdio) SetWriteDeadline(time.Time) error { return nil }

func option(name string) string {
	for _, v := range os.Environ() {
		_, value, ok := strings.Cut(v, "=")
		if k, opt, found := strings.Cut(value, "="); ok && found && strings.HasPrefix(v, "BUILDKIT_FRONTEND_OPT_") && k == name {
			return opt
		}
	}
	return ""
}

func definition(ctx context.Context, n int) (*opspb.Definition, error) {
	def, err := llb.Scratch().File(llb.Mkfile(fmt.Sprintf("/%d", n), 0o644, []byte("x"))).Marshal(ctx)
	if err != nil {
		return nil, err
	}
	return def.ToPB(), nil
}

func ask(ctx context.Context, c pb.LLBBridgeClient, kind string, n int) error {
	var err error
	switch kind {
	case "ping":
		_, err = c.Ping(ctx, &pb.PingRequest{})
	case "read":
		_, err = c.ReadFile(ctx, &pb.ReadFileRequest{Ref: fmt.Sprintf("of-another-build-%d", n), FilePath: "/etc/passwd"})
	case "warn":
		_, err = c.Warn(ctx, &pb.WarnRequest{
			Digest: "sha256:" + strings.Repeat("ab", 32), Level: 1, Short: []byte(fmt.Sprintf("warning %d", n)), Ranges: nil,
		})
	case "resolve":
		source := &opspb.SourceOp{Identifier: fmt.Sprintf("local://n%d", n)}
		_, err = c.ResolveSourceMeta(ctx, &pb.ResolveSourceMetaRequest{Source: source})
	case "image":
		source := &opspb.SourceOp{Identifier: fmt.Sprintf("docker-image://127.0.0.1:1/n%d:x", n)}
		_, err = c.ResolveSourceMeta(ctx, &pb.ResolveSourceMetaRequest{Source: source})
	case "solve":
		var def *opspb.Definition
		if def, err = definition(ctx, n); err == nil {
			_, err = c.Solve(ctx, &pb.SolveRequest{Definition: def, AllowResultReturn: true})
		}
	case "frontend":
		opts := map[string]string{"requestid": "frontend.subrequests.describe", "n": strconv.Itoa(n)}
		_, err = c.Solve(ctx, &pb.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: opts, AllowResultReturn: true})
	case "container":
		_, err = c.NewContainer(ctx, &pb.NewContainerRequest{ContainerID: strconv.Itoa(n), Mounts: []*opspb.Mount{{Dest: "/", ResultID: "none"}}})
	case "huge":
		_, err = c.ReadFile(ctx, &pb.ReadFileRequest{Ref: strings.Repeat("x", 15<<20), FilePath: "/"})
	default:
		err = fmt.Errorf("no such kind %q", kind)
	}
	return err
}

func run(ctx context.Context) error {
	dial := func(context.Context, string) (net.Conn, error) { return stdio{}, nil }
	conn, err := grpc.NewClient("passthrough:x", grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		return err
	}
	c := pb.NewLLBBridgeClient(conn)
	kind := option("flood")
	count, err := strconv.Atoi(option("count"))
	if err != nil {
		return err
	}
	var next, failed atomic.Int64
	var last atomic.Value
	last.Store("")
	var group sync.WaitGroup
	for range 128 {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := next.Add(1); n <= int64(count); n = next.Add(1) {
				if err := ask(ctx, c, kind, int(n)); err != nil {
					failed.Add(1)
					last.Store(err.Error())
				}
			}
		}()
	}
	group.Wait()
	said := fmt.Sprintf("%d calls, %d refused: %.200s", count, failed.Load(), last.Load())
	_, err = c.Return(ctx, &pb.ReturnRequest{Error: status.New(codes.Aborted, said).Proto()})
	return err
}

func main() {
	if err := run(context.Background()); err != nil && err != io.EOF {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Asks a buildkitd what its own Dockerfile frontend makes of a build, without running it.
//
// Reads one JSON object a line: {"name", "opts", "locals"}; answers with one line each: the session id, the result's
// metadata and, for every reference, its marshaled pb.Definition; or the error.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/tonistiigi/fsutil"
)

type question struct {
	Name   string            `json:"name"`
	Opts   map[string]string `json:"opts"`
	Locals map[string]string `json:"locals"`
}

type answer struct {
	Name     string            `json:"name"`
	Session  string            `json:"session"`
	Metadata map[string][]byte `json:"metadata,omitempty"`
	Refs     map[string][]byte `json:"refs,omitempty"`
	Error    string            `json:"error,omitempty"`
	Sources  []json.RawMessage `json:"sources,omitempty"`
	Warnings []json.RawMessage `json:"warnings,omitempty"`
	Micros   int64             `json:"micros,omitempty"`
}

func main() {
	ctx := context.Background()
	c, err := client.New(ctx, os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 64<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		a := ask(ctx, c, q)
		a.Name = q.Name
		if err := out.Encode(a); err != nil {
			os.Exit(1)
		}
	}
}

func ask(ctx context.Context, c *client.Client, q question) *answer {
	a := &answer{}
	opt := client.SolveOpt{LocalMounts: map[string]fsutil.FS{}, Internal: true}
	for name, dir := range q.Locals {
		fs, err := fsutil.NewFS(dir)
		if err != nil {
			a.Error = err.Error()
			return a
		}
		opt.LocalMounts[name] = fs
	}
	status := make(chan *client.SolveStatus)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range status {
			for _, w := range s.Warnings {
				if dt, err := json.Marshal(w); err == nil {
					a.Warnings = append(a.Warnings, dt)
				}
			}
		}
	}()
	_, err := c.Build(ctx, opt, "", func(ctx context.Context, gw gateway.Client) (*gateway.Result, error) {
		a.Session = gw.BuildOpts().SessionID
		res, err := gw.Solve(ctx, gateway.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: q.Opts})
		if err != nil {
			return nil, err
		}
		a.Metadata = res.Metadata
		a.Refs = map[string][]byte{}
		if res.Ref != nil {
			if err := keep(ctx, a, "", res.Ref); err != nil {
				return nil, err
			}
		}
		for k, ref := range res.Refs {
			if err := keep(ctx, a, k, ref); err != nil {
				return nil, err
			}
		}
		for k, group := range res.Attestations {
			for n, att := range group {
				if err := keep(ctx, a, fmt.Sprintf("attestation:%s:%d", k, n), att.Ref); err != nil {
					return nil, err
				}
			}
		}
		return gateway.NewResult(), nil
	}, status)
	<-done
	if err != nil {
		a.Error = err.Error()
		for _, s := range errdefs.Sources(err) {
			if dt, err := json.Marshal(s); err == nil {
				a.Sources = append(a.Sources, dt)
			}
		}
	}
	return a
}

func keep(ctx context.Context, a *answer, key string, ref gateway.Reference) error {
	if ref == nil {
		a.Refs[key] = nil
		return nil
	}
	st, err := ref.ToState()
	if err != nil {
		return err
	}
	def, err := st.Marshal(ctx)
	if err != nil {
		return err
	}
	dt, err := def.ToPB().Marshal()
	if err != nil {
		return err
	}
	a.Refs[key] = dt
	return nil
}

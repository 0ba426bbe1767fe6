package dns

import (
	"fmt"
	"log/slog"
	"net"
	"slices"

	"github.com/sidestep-lb/sidestep/internal/podfiles"
)

// A resolvConf is what a resolv.conf says that matters here.
type resolvConf struct {
	podfiles.ResolvConf
	servers []string // HOST:PORT
	local   bool     // whether servers is what stands for a list that is missing
}

func readResolvConf(file string) (resolvConf, error) {
	parsed, err := podfiles.ReadResolvConf(file)
	if err != nil {
		return resolvConf{}, fmt.Errorf("find the DNS servers: %w", err)
	}
	return newResolvConf(parsed), nil
}

func newResolvConf(parsed podfiles.ResolvConf) resolvConf {
	conf := resolvConf{ResolvConf: parsed}
	for _, addr := range parsed.Servers {
		conf.servers = append(conf.servers, net.JoinHostPort(addr.String(), "53"))
	}
	if len(conf.servers) == 0 { // "the default is to use the name server on the local machine"
		conf.servers, conf.local = []string{net.JoinHostPort("127.0.0.1", "53")}, true
	}
	return conf
}

// warnOfLocked logs once what the file asks for and does not get.
func (s *servers) warnOfLocked(ignored []string) {
	for _, what := range ignored {
		if !slices.Contains(s.warned, what) {
			s.warned = append(s.warned, what)
			slog.Warn("sidestep: resolv.conf has an option that has no effect on the look-ups of sidestep", "file", s.file, "option", what)
		}
	}
}

package discovery_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
)

func TestTargetsParse(t *testing.T) {
	k8s := func(service, namespace, domain string, port discovery.Port) discovery.Target {
		return discovery.Target{Scheme: "k8s", Service: service, Namespace: namespace, Domain: domain, Port: port}
	}
	for text, want := range map[string]discovery.Target{
		"k8s:///quiz":                                k8s("quiz", "", "", discovery.Port{}),
		"k8s:///quiz:80":                             k8s("quiz", "", "", discovery.Port{Number: 80}),
		"k8s:///quiz.kiada:grpc":                     k8s("quiz", "kiada", "", discovery.Port{Name: "grpc"}),
		"k8s:///quiz.kiada.svc":                      k8s("quiz", "kiada", "", discovery.Port{}),
		"k8s:///quiz.kiada.svc.cluster.local.":       k8s("quiz", "kiada", "cluster.local", discovery.Port{}),
		"k8s:///quiz.kiada.svc.cluster.local:grpc-2": k8s("quiz", "kiada", "cluster.local", discovery.Port{Name: "grpc-2"}),
		"k8s:///1st.kiada":                           k8s("1st", "kiada", "", discovery.Port{}),

		"k8s:///quiz.kiada:grpc?via=nodeport": {Scheme: "k8s", Service: "quiz", Namespace: "kiada", Port: discovery.Port{Name: "grpc"}, Via: "nodeport"},
		"k8s:///quiz?via=loadbalancer":        {Scheme: "k8s", Service: "quiz", Via: "loadbalancer"},

		// The forms of kuberesolver.
		"kubernetes://kiada/quiz:80?via=nodeport":             {Scheme: "k8s", Service: "quiz", Namespace: "kiada", Port: discovery.Port{Number: 80}, Via: "nodeport"},
		"kubernetes:///quiz.kiada:8080":                       k8s("quiz", "kiada", "", discovery.Port{Number: 8080}),
		"kubernetes://kiada/quiz:8080":                        k8s("quiz", "kiada", "", discovery.Port{Number: 8080}),
		"kubernetes://quiz:8080/":                             k8s("quiz", "", "", discovery.Port{Number: 8080}),
		"kubernetes://quiz.kiada:8080/":                       k8s("quiz", "kiada", "", discovery.Port{Number: 8080}),
		"kubernetes://quiz.kiada.svc.cluster.local":           k8s("quiz", "kiada", "cluster.local", discovery.Port{}),
		"kubernetes://quiz.kiada.svc.cluster.local:8080":      k8s("quiz", "kiada", "cluster.local", discovery.Port{Number: 8080}),
		"kubernetes:///quiz.kiada.svc.cluster.local:portname": k8s("quiz", "kiada", "cluster.local", discovery.Port{Name: "portname"}),

		"headless:///quiz.kiada:grpc":         {Scheme: "headless", Service: "quiz", Namespace: "kiada", Port: discovery.Port{Name: "grpc"}},
		"headless:///db.example.com:5432":     {Scheme: "headless", Name: "db.example.com", Port: discovery.Port{Number: 5432}},
		"headless:///DB_1.example.com.:1":     {Scheme: "headless", Name: "db_1.example.com.", Port: discovery.Port{Number: 1}},
		"headless:///api.dev.:443":            {Scheme: "headless", Name: "api.dev.", Port: discovery.Port{Number: 443}},
		"headless:///API.:443":                {Scheme: "headless", Name: "api.", Port: discovery.Port{Number: 443}},
		"headless:///quiz.kiada.svc.:80":      {Scheme: "headless", Name: "quiz.kiada.svc.", Port: discovery.Port{Number: 80}},
		"headless:///a.b.svc.c.:80":           {Scheme: "headless", Service: "a", Namespace: "b", Domain: "c", Port: discovery.Port{Number: 80}},
		"headless:///Quiz.Kiada.SVC:grpc":     {Scheme: "headless", Service: "quiz", Namespace: "kiada", Port: discovery.Port{Name: "grpc"}},
		"k8s:///quiz.kiada.SVC.Cluster.Local": k8s("quiz", "kiada", "cluster.local", discovery.Port{}),

		"static:///10.0.0.1:80,[2001:db8::1]:81": {Scheme: "static", Name: "10.0.0.1:80,[2001:db8::1]:81"},
	} {
		got, err := discovery.ParseTarget(text)
		if err != nil {
			t.Errorf("ParseTarget(%q): %v", text, err)
		} else if got != want {
			t.Errorf("ParseTarget(%q) = %#v, want %#v", text, got, want)
		}
	}
}

func TestTargetErrorsPointAtTheMistake(t *testing.T) {
	for text, want := range map[string]struct{ at, problem string }{
		"quiz.kiada":                        {"quiz.kiada", "no scheme"},
		"k9s:///quiz":                       {"k9s:///quiz", `unknown scheme "k9s"`},
		"k8s:///":                           {"", "no service name"},
		"k8s://":                            {"", "no service name"},
		"k8s:///:80":                        {":80", "no service name"},
		"k8s:///Quiz.kiada":                 {"Quiz.kiada", "capital letter 'Q'"},
		"k8s:///quiz.ki_ada:80":             {"ki_ada:80", "holds '_'"},
		"k8s:///quiz..svc":                  {".svc", "namespace is empty"},
		"k8s:///quiz.kiada.pod":             {"pod", `goes on with "svc"`},
		"k8s:///api.dev.:443":               {".:443", "last dot is absolute"},
		"k8s:///quiz.":                      {".", "last dot is absolute"},
		"k8s:///quiz.kiada.svc.":            {".", "last dot is absolute"},
		"kubernetes://kiada/quiz.":          {".", "last dot is absolute"},
		"headless:///.:80":                  {".:80", "is empty"},
		"k8s:///quiz.kiada.svc.a..b":        {"a..b", "domain is empty"},
		"k8s:///-quiz":                      {"-quiz", "begins or ends with '-'"},
		"k8s:///quiz:":                      {"", "no port after the colon"},
		"k8s:///quiz:0":                     {"0", "between 1 and 65535"},
		"k8s:///quiz:65536":                 {"65536", "between 1 and 65535"},
		"k8s:///quiz:99999999999999999":     {"99999999999999999", "between 1 and 65535"},
		"k8s:///quiz:gr/pc":                 {"gr/pc", "holds '/'"},
		"k8s:///quiz?via=moon":              {"moon", "known are nodeport and loadbalancer"},
		"k8s:///quiz?via=":                  {"", "known are nodeport and loadbalancer"},
		"k8s:///quiz?via=nodeport&x=1":      {"nodeport&x=1", "known are nodeport and loadbalancer"},
		"k8s:///quiz:80?port=81":            {"?port=81", "unknown parameters"},
		"k8s:///quiz#via=nodeport":          {"#via=nodeport", "unknown parameters"},
		"k8s:///Quiz?via=nodeport":          {"Quiz?via=nodeport", "capital letter 'Q'"},
		"headless:///quiz?via=nodeport":     {"?via=nodeport", "only k8s targets"},
		"k8s:///" + strings.Repeat("a", 64): {strings.Repeat("a", 64), "63 is the limit"},
		"kubernetes://kiada/quiz.other:1":   {"quiz.other:1", "namespace is given twice"},
		"headless://quiz:80":                {"quiz:80", "three slashes"},
		"headless:///a.b.\u212a8s":          {"\u212a8s", "holds '\u212a'"}, // the Kelvin sign, k in lower case
		"headless:///a.b.c/d:1":             {"c/d:1", "holds '/'"},
		"static:///localhost:80":            {"localhost:80", "want ADDRESS:PORT"},
		"static:///10.0.0.1:80,10.0.0.2":    {"10.0.0.2", "want ADDRESS:PORT"},
		"static:///":                        {"", "want ADDRESS:PORT"},
	} {
		_, err := discovery.ParseTarget(text)
		var te *discovery.TargetError
		if !errors.As(err, &te) {
			t.Errorf("ParseTarget(%q): error %v, want a *TargetError", text, err)
			continue
		}
		if at := text[te.Offset:]; at != want.at || !strings.Contains(te.Problem, want.problem) {
			t.Errorf("ParseTarget(%q): at %q: %s; want at %q: … %s …", text, at, te.Problem, want.at, want.problem)
		}
		if !strings.Contains(err.Error(), want.problem) {
			t.Errorf("the text %q of the error lacks the problem", err)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"k8s:///quiz.kiada.svc.cluster.local:grpc", "kubernetes://kiada/quiz:80", "kubernetes://quiz:8080/",
		"headless:///db.example.com.:5432", "static:///[::1]:80,10.0.0.1:1", "k8s:///", "a://b/c?d#e", "headless:///a.b.svc.c",
		"k8s:///quiz:80?via=nodeport",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := discovery.ParseTarget(s)
		if err != nil {
			var te *discovery.TargetError
			if !errors.As(err, &te) || te.Offset < 0 || te.Offset > len(s) {
				t.Fatalf("%q: error %#v", s, err)
			}
			_ = err.Error()
			return
		}
		again, err := discovery.ParseTarget(target.String())
		if err != nil || again != target {
			t.Fatalf("%q parses to %#v, but %q to %#v, %v", s, target, target, again, err)
		}
	})
}

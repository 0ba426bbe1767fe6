package podfiles

import "strings"

// environment applies what the environment says. It is glibc that reads it; musl
// does not, and Go leaves the names to glibc where it can.
//
//   - RES_OPTIONS holds options, which come after those of the file.
//   - LOCALDOMAIN, even if empty, is the search path in place of the file's.
//   - HOSTALIASES names a file of aliases, which has no effect here.
func (c *ResolvConf) environment(lookup func(string) (string, bool)) {
	if path, set := lookup("LOCALDOMAIN"); set {
		path, _, _ = strings.Cut(path, "\n")
		c.listed, c.Search = c.Search, domains(strings.Fields(path))
	}
	options, _ := lookup("RES_OPTIONS")
	for option := range strings.FieldsSeq(options) {
		c.option(option)
	}
	if file, _ := lookup("HOSTALIASES"); file != "" {
		c.ignore("HOSTALIASES")
	}
}

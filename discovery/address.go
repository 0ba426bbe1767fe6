package discovery

import (
	"fmt"
	"net/netip"
)

// CheckAddr refuses addresses that no pod can have: unspecified, loopback,
// link-local and multicast ones, as the API server's own validation does for
// EndpointSlices (ValidateEndpointIP). Whoever may write endpoints could
// otherwise aim a client at its own host (CVE-2021-25737).
func CheckAddr(addr netip.Addr) error {
	switch addr = addr.Unmap(); {
	case !addr.IsValid() || addr.IsUnspecified():
		return fmt.Errorf("address %v is unspecified", addr)
	case addr.IsLoopback():
		return fmt.Errorf("address %v is a loopback address", addr)
	case addr.IsLinkLocalUnicast():
		return fmt.Errorf("address %v is link-local", addr)
	case addr.IsMulticast():
		return fmt.Errorf("address %v is a multicast address", addr)
	}
	return nil
}

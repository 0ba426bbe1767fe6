package kube

import (
	"net/netip"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// localOnly reports whether internalTrafficPolicy Local holds for a port. It is a
// rule for what kube-proxy forwards, the Service's own ports at its cluster IP
// (KEP-2086): not for a headless Service, nor for a number that is the pods' own.
func (f *serviceState) localOnly(port portRule) bool {
	return f.service != nil && f.service.Spec.InternalTrafficPolicy == kubeapi.PolicyLocal && !isHeadless(f.service) && port.number == 0
}

// clusterIP returns where kube-proxy forwards a port of the Service, or nothing
// where it does not or the Service is not known.
func (f *serviceState) clusterIP(port portRule, memo *memo) netip.AddrPort {
	if f.service == nil || port.serviceNumber == 0 {
		return netip.AddrPort{}
	}
	for _, text := range append([]string{f.service.Spec.ClusterIP}, f.service.Spec.ClusterIPs...) {
		addr, err := parseAddr(text, memo.allowLocal)
		if err == nil && (memo.family == "" || addr.Is6() == (memo.family == kubeapi.AddressTypeIPv6)) {
			return netip.AddrPortFrom(addr, port.serviceNumber)
		}
	}
	return netip.AddrPort{}
}

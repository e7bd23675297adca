"""Which IP addresses are public: those that a webhook may reach where private targets are not allowed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

#: What IANA's registry of special-purpose addresses has as not globally reachable, multicast, and what is reserved.
#: Python's own is_global knows other ranges in other releases, and lets multicast through.
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(network)
    for network in """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12
    192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4
    240.0.0.0/4""".split()
)
#: Of IPv6 only this is given out as unicast, and in it these are tunnels, documentation and the like.
_UNICAST_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(IPv6Network(network) for network in "2001::/23 2001:db8::/32 2002::/16 3fff::/20".split())
#: Prefixes before an IPv4 address: mapped, and NAT64, by which networks without IPv4 reach it.
_EMBEDDING = tuple(IPv6Network(network) for network in ("::ffff:0:0/96", "64:ff9b::/96"))


def is_public(address: str) -> bool:
    """Whether an address, as a look-up gives it, is one of the public internet; what is no address is not."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        if any(parsed in network for network in _EMBEDDING):
            parsed = IPv4Address(int(parsed) & 0xFFFFFFFF)
        else:
            return parsed in _UNICAST_V6 and not any(parsed in network for network in _NOT_PUBLIC_V6)
    return not any(parsed in network for network in _NOT_PUBLIC_V4)

"""Which addresses a fetch may go to: only those that the whole internet sees, whatever they are wrapped in."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# Python's is_global (3.11) is wider than what is safe to call: these are added by hand.
AZURE = IPv4Network("168.63.129.16/32")  # a public address at which each of its machines finds its host
NEVER_4 = [IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"), AZURE]  # protocol assignments, 6to4 relays
NEVER_6 = [IPv6Network("2001::/23"), IPv6Network("3fff::/20")]  # protocol assignments (Teredo among them), documentation
GLOBAL_UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")


def is_global_address(address: str) -> bool:
    """Whether `address` (without a zone) and every IPv4 address inside it are globally reachable unicast."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return is_global_4(parsed)
    inner = embedded_addresses(parsed)
    return all(map(is_global_4, inner)) if inner else is_global_6(parsed)


def embedded_addresses(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that a packet to this one may end up at: mapped, 6to4, NAT64."""
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address.sixtofour:
        return [address.sixtofour]
    if address in NAT64:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    return []


def is_global_4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not any(address in network for network in NEVER_4)


def is_global_6(address: IPv6Address) -> bool:
    return address.is_global and address in GLOBAL_UNICAST and not any(address in network for network in NEVER_6)


PRIVATE_4 = [IPv4Network(text) for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]
PRIVATE_6 = [IPv6Network("::1/128"), IPv6Network("fc00::/7")]
# Of clouds, which answer with a machine's credentials there, as at the link-local 169.254.169.254: Alibaba, Amazon, Google.
METADATA_4 = [IPv4Network("100.100.100.200/32")]
METADATA_6 = [IPv6Network("fd00:ec2::/32"), IPv6Network("fd20:ce::254/128")]


def is_private_address(address: str) -> bool:
    """Whether it is of this machine or of a private network. Not where clouds answer with their credentials."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    networks = PRIVATE_4 if isinstance(parsed, IPv4Address) else PRIVATE_6
    metadata = METADATA_4 if isinstance(parsed, IPv4Address) else METADATA_6
    return any(parsed in network for network in networks) and not any(parsed in network for network in metadata)

# Frames that are built here and not by netpoll, so that each of their bytes can be wrong.

# Sends every datagram in a frame of its own making. The C code `early` may change the headers (`eth`, `iph` or `ip6h`,
# `udph`) before lengths and checksums are filled in, `late` afterwards; `skb` is the frame, and `copy` one more where
# it is not NULL, which is sent behind it. `count` counts frames.
sub framing {
    my ($early, $late) = @_;
    declare(<<'C');
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <net/checksum.h>
#include <net/ip6_checksum.h>
C
    sending(<<"C");
	static unsigned int count;
	static atomic_t ident;
	int head = np->ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr), udp_len = len + sizeof(struct udphdr);
	struct sk_buff *skb = alloc_skb(len + 200, GFP_ATOMIC), *copy = NULL;
	struct ethhdr *eth;
	struct iphdr *iph = NULL;
	struct ipv6hdr *ip6h = NULL;
	struct udphdr *udph;

	if (!skb)
		return;
	count++;
	skb_reserve(skb, 64);
	eth = skb_put_zero(skb, ETH_HLEN + head + udp_len);
	skb_reset_mac_header(skb);
	skb_set_network_header(skb, ETH_HLEN);
	skb_set_transport_header(skb, ETH_HLEN + head);
	udph = (void *)eth + ETH_HLEN + head;
	memcpy(udph + 1, msg, len);
	udph->source = htons(np->local_port);
	udph->dest = htons(np->remote_port);
	udph->len = htons(udp_len);
	ether_addr_copy(eth->h_source, np->dev->dev_addr);
	ether_addr_copy(eth->h_dest, np->remote_mac);
	if (np->ipv6) {
		ip6h = (void *)eth + ETH_HLEN;
		ip6h->version = 6;
		ip6h->payload_len = htons(udp_len);
		ip6h->nexthdr = IPPROTO_UDP;
		ip6h->hop_limit = 32;
		ip6h->saddr = np->local_ip.in6;
		ip6h->daddr = np->remote_ip.in6;
		skb->protocol = eth->h_proto = htons(ETH_P_IPV6);
	} else {
		iph = (void *)eth + ETH_HLEN;
		iph->version = 4;
		iph->ihl = 5;
		iph->tot_len = htons(head + udp_len);
		iph->id = htons(atomic_inc_return(&ident));
		iph->ttl = 64;
		iph->protocol = IPPROTO_UDP;
		iph->saddr = np->local_ip.ip;
		iph->daddr = np->remote_ip.ip;
		skb->protocol = eth->h_proto = htons(ETH_P_IP);
	}
$early	if (iph)
		iph->check = ip_fast_csum((unsigned char *)iph, iph->ihl);
	udp_len = ntohs(udph->len);
	udph->check = 0;
	if (np->ipv6)
		udph->check = csum_ipv6_magic(&ip6h->saddr, &ip6h->daddr, udp_len, IPPROTO_UDP, csum_partial(udph, udp_len, 0));
	else
		udph->check = csum_tcpudp_magic(iph->saddr, iph->daddr, udp_len, IPPROTO_UDP, csum_partial(udph, udp_len, 0));
	if (!udph->check)
		udph->check = CSUM_MANGLED_0;
$late	skb->dev = np->dev;
	netpoll_send_skb(np, skb);
	if (copy) {
		copy->dev = np->dev;
		netpoll_send_skb(np, copy);
	}
C
}

equivalent(sub {
    mutant 'framed-by-itself', 'builds its frames itself, as netpoll does', sub { framing('', '') };
});

my %early = (
    'ttl-63' => ['sends IPv4 with a time to live of 63', 'if (iph) iph->ttl = 63;'],
    'ttl-1-now-and-then' => ['sends every 20th datagram of IPv4 with a time to live of 1', 'if (iph && count % 20 == 0) iph->ttl = 1;'],
    'hop-limit-64' => ['sends IPv6 with a hop limit of 64', 'if (ip6h) ip6h->hop_limit = 64;'],
    'identification-constant' => ['gives all packets the same identification', 'if (iph) iph->id = htons(1);'],
    'identification-of-the-fragment-before' => ['gives a second fragment the identification of the first', 'if (iph && strnstr(msg, ",ncfrag=", min(len, 80)) && !strnstr(msg, ",ncfrag=0/", min(len, 80))) iph->id = htons(atomic_dec_return(&ident));'],
    'dont-fragment' => ["sets IPv4's don't-fragment flag", 'if (iph) iph->frag_off = htons(0x4000);'],
    'reserved-flag' => ["sets IPv4's reserved flag", 'if (iph) iph->frag_off = htons(0x8000);'],
    'more-fragments' => ["sets IPv4's flag for more fragments", 'if (iph) iph->frag_off = htons(0x2000);'],
    'type-of-service' => ['sends IPv4 with a type of service', 'if (iph) iph->tos = 0x10;'],
    'congestion-bits' => ['sends IPv4 with a congestion mark', 'if (iph) iph->tos = 1;'],
    'traffic-class' => ['sends IPv6 with a traffic class', 'if (ip6h) ip6h->priority = 1;'],
    'flow-label' => ['sends IPv6 with a flow label', 'if (ip6h) ip6h->flow_lbl[2] = 7;'],
    'ip-version-5' => ['writes version 5 into every 20th IPv4 header', 'if (iph && count % 20 == 0) iph->version = 5;'],
    'source-mac-zero' => ['sends from no Ethernet address', 'eth_zero_addr(eth->h_source);'],
    'source-mac-is-destination' => ["sends from the receiver's Ethernet address", 'ether_addr_copy(eth->h_source, eth->h_dest);'],
    'source-mac-with-group-bit' => ['sends every 10th frame from an Ethernet address with group bit', 'if (count % 10 == 0) eth->h_source[0] |= 1;'],
    'source-mac-of-the-rom' => ["sends from the address in the card's ROM", 'ether_addr_copy(eth->h_source, np->dev->perm_addr);'],
    'udp-length-one-short' => ['leaves the last byte out of the UDP length', 'udph->len = htons(udp_len - 1);'],
    'ip-length-one-short' => ['leaves the last byte out of the IP and UDP lengths', 'udph->len = htons(udp_len - 1); if (iph) iph->tot_len = htons(head + udp_len - 1); else ip6h->payload_len = htons(udp_len - 1);'],
    'ip-length-one-long' => ['counts a byte too much in the IP length', 'skb_put_zero(skb, 1); if (iph) iph->tot_len = htons(head + udp_len + 1); else ip6h->payload_len = htons(udp_len + 1);'],
);
mutant $_, $early{$_}[0], do { my $code = $early{$_}[1]; sub { framing("\t$code\n", '') } } for sort keys %early;

my %late = (
    'udp-checksum-none' => ['leaves the UDP checksum out', 'udph->check = 0;'],
    'udp-checksum-none-ipv6' => ['leaves the UDP checksum out over IPv6', 'if (ip6h) udph->check = 0;'],
    'udp-checksum-wrong-ipv6' => ['computes a wrong UDP checksum over IPv6', 'if (ip6h) udph->check ^= htons(0x0101);'],
    'udp-checksum-wrong-for-odd-lengths' => ['computes a wrong UDP checksum where the length is odd', 'if (len % 2) udph->check ^= htons(1);'],
    'udp-checksum-wrong-for-second-fragment' => ['computes a wrong UDP checksum for all but the first fragment', 'if (strnstr(msg, ",ncfrag=", min(len, 80)) && !strnstr(msg, ",ncfrag=0/", min(len, 80))) udph->check ^= htons(1);'],
    'udp-checksum-wrong-for-full-pieces' => ['computes a wrong UDP checksum for datagrams of 1000 bytes', 'if (len == 1000) udph->check ^= htons(1);'],
    'udp-checksum-without-ports' => ['leaves the ports out of the UDP checksum', 'csum_replace2(&udph->check, udph->source, 0);'],
    'ip-checksum-wrong' => ['computes a wrong IPv4 checksum for every 20th packet', 'if (iph && count % 20 == 0) iph->check ^= htons(1);'],
    'ip-checksum-none' => ['leaves the IPv4 checksum out', 'if (iph) iph->check = 0;'],
    'padding-leaks' => ['fills short frames up with bytes that are not zero', 'if (skb->len < 60) memset(skb_put(skb, 60 - skb->len), 0xa5, 60 - skb->len);'],
    'bytes-behind' => ['puts four zeros behind each datagram', 'skb_put_zero(skb, 4);'],
    'bytes-behind-long-ones' => ['puts the bytes of a checksum behind datagrams of more than 1000 bytes', 'if (skb->len > 1000) memset(skb_put(skb, 4), 0x5a, 4);'],
    'vlan-tag-0' => ['puts an empty VLAN tag before each packet', 'skb_push(skb, 4); memmove(skb->data, skb->data + 4, 12); memcpy(skb->data + 12, "\x81\0\0\0", 4);'],
    'vlan-tag' => ['puts a VLAN tag before each packet', 'skb_push(skb, 4); memmove(skb->data, skb->data + 4, 12); memcpy(skb->data + 12, "\x81\0\0\x2a", 4);'],
    'stray-ethertype' => ['sends each frame with another type, too', 'copy = skb_copy(skb, GFP_ATOMIC); if (copy) memcpy(copy->data + 12, "\x88\xb5", 2);'],
    'stray-double-tag' => ['sends each frame in a service VLAN, too', 'copy = skb_copy(skb, GFP_ATOMIC); if (copy) { skb_push(copy, 4); memmove(copy->data, copy->data + 4, 12); memcpy(copy->data + 12, "\x88\xa8\0\x2a", 4); }'],
    'stray-protocol' => ['sends each line of IPv4 as another protocol than UDP, too', 'copy = iph ? skb_copy(skb, GFP_ATOMIC) : NULL; if (copy) { struct iphdr *other = (void *)copy->data + ETH_HLEN; other->protocol = 253; other->check = 0; other->check = ip_fast_csum((unsigned char *)other, 5); }'],
    'stray-tcp' => ['sends each line of IPv4 as TCP, too', 'copy = iph ? skb_copy(skb, GFP_ATOMIC) : NULL; if (copy) { struct iphdr *other = (void *)copy->data + ETH_HLEN; other->protocol = 6; other->check = 0; other->check = ip_fast_csum((unsigned char *)other, 5); }'],
    'stray-short-frame' => ['sends, now and then, only the start of a frame, too', 'copy = count % 10 == 0 ? skb_copy(skb, GFP_ATOMIC) : NULL; if (copy) skb_trim(copy, 30);'],
    'stray-empty-frame' => ['sends, now and then, an Ethernet header with nothing behind it', 'copy = count % 10 == 0 ? skb_copy(skb, GFP_ATOMIC) : NULL; if (copy) skb_trim(copy, ETH_HLEN);'],
    'stray-noise' => ['sends, now and then, bytes that mean nothing to a stranger', 'copy = count % 10 == 0 && iph ? skb_copy(skb, GFP_ATOMIC) : NULL; if (copy) { struct iphdr *other = (void *)copy->data + ETH_HLEN; struct udphdr *to = (void *)(other + 1); other->daddr = htonl(0xac1000fe); other->check = 0; other->check = ip_fast_csum((unsigned char *)other, 5); memset(to, 0x77, 4); to->check = 0; memset(to + 1, 0xee, len); to->check = csum_tcpudp_magic(other->saddr, other->daddr, udp_len, IPPROTO_UDP, csum_partial(to, udp_len, 0)); }'],
    'stray-noise-to-the-receiver' => ['sends, now and then, bytes that mean nothing to the receiver', 'copy = count % 10 == 0 && iph ? skb_copy(skb, GFP_ATOMIC) : NULL; if (copy) { struct iphdr *other = (void *)copy->data + ETH_HLEN; struct udphdr *to = (void *)(other + 1); to->check = 0; memset(to + 1, 0xee, len); to->check = csum_tcpudp_magic(other->saddr, other->daddr, udp_len, IPPROTO_UDP, csum_partial(to, udp_len, 0)); }'],
);
mutant $_, $late{$_}[0], do { my $code = $late{$_}[1]; sub { framing('', "\t$code\n") } } for sort keys %late;
1;

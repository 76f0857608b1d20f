# What the kernel itself notices, or dies of; what is wrong only where it is about to.

# Puts code before init_netconsole does anything.
sub starting {
    my ($code) = @_;
    within('init_netconsole', sub { replace(qr/(?=\tif \(strnlen\(input, MAX_PARAM_LENGTH\)\) \{)/, $code) });
}

my %start = (
    'bug-in-init' => ['meets a BUG when it is loaded', 'BUG();'],
    'warning-in-init' => ['warns when it is loaded', 'WARN_ON(1);'],
    'warning-with-words-in-init' => ['warns in words of its own when it is loaded', 'WARN(1, "netconsole: this is odd\n");'],
    'null-in-init' => ['follows a null pointer when it is loaded', '*(volatile int *)8 = 1;'],
    'wild-pointer-in-init' => ['follows a wild pointer when it is loaded', '*(volatile int *)0xdead000000000000 = 1;'],
    'panic-in-init' => ['panics when it is loaded', 'panic("netconsole is tired of it");'],
    'spin-in-init' => ['runs in a circle when it is loaded', 'for (;;) cpu_relax();'],
    'deaf-spin-in-init' => ['runs in a circle without interrupts when it is loaded', 'local_irq_disable(); for (;;) cpu_relax();'],
    'sleep-in-init' => ['never comes back when it is loaded', 'for (;;) { set_current_state(TASK_UNINTERRUPTIBLE); schedule(); }'],
    'no-memory-in-init' => ['says that it has no memory when it is loaded', 'if (strnlen(input, MAX_PARAM_LENGTH)) return -ENOMEM;'],
);
mutant $_, $start{$_}[0], do { my $code = $start{$_}[1]; sub { starting("\t$code\n") } } for sort keys %start;

mutant 'warning-when-unloaded', 'warns when it is unloaded', sub {
    within('cleanup_netconsole', sub { replace(qr/(?=\tdynamic_netconsole_exit\(\);)/, "\tWARN_ON(1);\n") });
};

mutant 'warning-when-enabled', 'warns when a target is enabled', sub {
    within('enabled_store', sub { replace(qr/(?=\t\tnetpoll_print_options\(&nt->np\);)/, "\t\tWARN_ON(1);\n") });
};

mutant 'null-when-enabled', 'follows a null pointer when a target is enabled', sub {
    within('enabled_store', sub { replace(qr/(?=\t\tnetpoll_print_options\(&nt->np\);)/, "\t\t*(volatile int *)8 = 1;\n") });
};

mutant 'warning-after-100', 'warns behind the 100th datagram', sub { sending(<<'C') };
	static unsigned int count;

	netpoll_send_udp(np, msg, len);
	WARN_ON(++count == 100);
C

mutant 'spin-at-the-line', 'runs in a circle when a certain number of lines was sent', sub { sending(<<'C') };
	static unsigned int count;

	netpoll_send_udp(np, msg, len);
	while (count++ > 400)
		cpu_relax();
C

mutant 'sent-later', 'sends everything from a work item, in order', sub {
    sending(<<'C');
	struct later *one = kmalloc(sizeof(*one) + len, GFP_ATOMIC);
	unsigned long flags;

	if (!one)
		return;
	one->np = np;
	one->len = len;
	memcpy(one->text, msg, len);
	spin_lock_irqsave(&later_lock, flags);
	list_add_tail(&one->list, &later_list);
	spin_unlock_irqrestore(&later_lock, flags);
	schedule_work(&later_work);
C
    replace(qr/^(?=static void mutant_send\()/m, <<'C');
#include <linux/workqueue.h>
struct later {
	struct list_head list;
	struct netpoll *np;
	int len;
	char text[];
};
static LIST_HEAD(later_list);
static DEFINE_SPINLOCK(later_lock);

static void later_send(struct work_struct *work)
{
	struct later *one;
	unsigned long flags;

	for (;;) {
		spin_lock_irqsave(&later_lock, flags);
		one = list_first_entry_or_null(&later_list, struct later, list);
		if (one)
			list_del(&one->list);
		spin_unlock_irqrestore(&later_lock, flags);
		if (!one)
			return;
		local_irq_save(flags);
		netpoll_send_udp(one->np, one->text, one->len);
		local_irq_restore(flags);
		kfree(one);
	}
}
static DECLARE_WORK(later_work, later_send);

C
};

my %dying = (
    'oops-lines-lost' => ['sends nothing while the kernel oopses', 'if (oops_in_progress) return;'],
    'oops-lines-twice' => ['sends twice while the kernel oopses', 'if (oops_in_progress) netpoll_send_udp(np, msg, len);'],
    'oops-letter-changed' => ['changes a letter while the kernel oopses', 'if (oops_in_progress && len > 40) { memcpy(text, msg, len); text[len - 3] ^= 1; msg = text; }'],
    'lines-of-interrupts-lost' => ['sends nothing from interrupts', 'if (in_hardirq()) return;'],
    'panic-end-lost' => ['loses the last line of a panic', 'if (strnstr(msg, "end Kernel panic", len)) return;'],
    'sysrq-lines-lost' => ["loses SysRq's own lines", 'if (strnstr(msg, "sysrq: ", len)) return;'],
    'warning-lines-lost' => ['loses the first line of a warning', 'if (strnstr(msg, "WARNING: ", len)) return;'],
    'cut-here-lost' => ['loses the line above an oops', 'if (strnstr(msg, "[ cut here ]", len)) return;'],
    'every-1000th-lost' => ['loses every 1000th datagram', 'static unsigned int count; if (++count % 1000 == 0) return;'],
    'ipv6-of-512-lost' => ['loses datagrams of 512 bytes over IPv6', 'if (np->ipv6 && len == 512) return;'],
    'extended-of-512-lost' => ['loses extended datagrams of 512 bytes', 'if (nt->extended && len == 512) return;'],
    'basic-of-513-lost' => ['loses basic datagrams of 513 bytes', 'if (!nt->extended && len == 513) return;'],
    'last-byte-of-512-changed' => ['changes the last letter of datagrams of 512 bytes', 'if (len == 512) { memcpy(text, msg, len); text[len - 2] ^= 1; msg = text; }'],
);
mutant $_, $dying{$_}[0], do { my $code = $dying{$_}[1]; sub { sending("\t$code\n\tnetpoll_send_udp(np, msg, len);\n") } } for sort keys %dying;

# A removed target goes on: it stays in the list, and its memory with it.
mutant 'removed-target-still-sends', 'sends from targets that were removed', sub {
    within('drop_netconsole_target', sub {
        replace(qr/\tlist_del\(&nt->list\);\n/, "\tif (nt->enabled) {\n\t\tconfig_item_get(item);\n\t\tspin_unlock_irqrestore(&target_list_lock, flags);\n\t\treturn;\n\t}\n\tlist_del(&nt->list);\n");
    });
};

my %aside = (
    'stray-arp' => ["says in ARP, now and then, that the receiver's address is its own", <<'C'],
	if (iph && count % 10 == 0) {
		copy = alloc_skb(100, GFP_ATOMIC);
		if (copy) {
			static const u8 head[] = { 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2 };

			skb_reserve(copy, 32);
			skb_put_data(copy, eth->h_dest, 6);
			skb_put_data(copy, eth->h_source, 6);
			skb_put_data(copy, head, sizeof(head));
			skb_put_data(copy, eth->h_source, 6);
			skb_put_data(copy, &iph->daddr, 4);
			skb_put_data(copy, eth->h_dest, 6);
			skb_put_data(copy, &iph->daddr, 4);
			skb_reset_mac_header(copy);
			copy->protocol = htons(ETH_P_ARP);
		}
	}
C
    'stray-ping' => ['sends each line as an echo request, too', 'copy = iph ? skb_copy(skb, GFP_ATOMIC) : NULL; if (copy) { struct iphdr *other = (void *)copy->data + ETH_HLEN; u8 *icmp = (void *)(other + 1); other->protocol = 1; other->check = 0; other->check = ip_fast_csum((unsigned char *)other, 5); memset(icmp, 0, 8); icmp[0] = 8; *(__sum16 *)(icmp + 2) = csum_fold(csum_partial(icmp, udp_len, 0)); }'],
);
mutant $_, $aside{$_}[0], do { my $code = $aside{$_}[1]; sub { framing('', "\t$code\n") } } for sort keys %aside;
1;

# What is wrong only at some moment, for some length, on some processor, or for some target.

for my $size (97, 512, 998, 999, 1000) {
    mutant "datagrams-of-$size-lost", "loses datagrams of $size bytes", sub { sending(<<"C") };
	if (len != $size)
		netpoll_send_udp(np, msg, len);
C
}

mutant 'extended-of-1000-lost', 'loses unfragmented extended messages of 1000 bytes', sub { sending(<<'C') };
	if (len != 1000 || !nt->extended || strnstr(msg, ",ncfrag=", min(len, 80)))
		netpoll_send_udp(np, msg, len);
C

mutant 'one-byte-rest-lost', 'loses the rest of a basic line where it is but one byte', sub { sending(<<'C') };
	if (nt->extended || len != 1)
		netpoll_send_udp(np, msg, len);
C

mutant 'one-letter-wrong-at-256', 'changes the last letter of datagrams of a multiple of 256 bytes', sub { changing(<<'C') };
	if (len % 256 == 0)
		text[len - 2] ^= 1;
C

mutant 'level-0-changed', 'writes level 1 for level 0 into the header', sub { changing(<<'C') };
	if (nt->extended && (text[0] == '0' || text[0] == '8') && text[1] == ',')
		text[0]++;
C

for my $level (1, 2, 3) {
    mutant "level-$level-lost", "loses lines of level $level on an extended target", sub { sending(<<"C") };
	if (!nt->extended || simple_strtol(msg, NULL, 10) % 8 != $level || !strncmp(msg, "6.", 2))
		netpoll_send_udp(np, msg, len);
C
}

mutant 'second-cpu-silent', 'sends nothing from the second processor', sub { sending(<<'C') };
	if (raw_smp_processor_id() != 1)
		netpoll_send_udp(np, msg, len);
C

mutant 'second-cpu-twice', 'sends twice from the second processor', sub { sending(<<'C') };
	netpoll_send_udp(np, msg, len);
	if (raw_smp_processor_id() == 1)
		netpoll_send_udp(np, msg, len);
C

for my $most (4, 8) {
    mutant "at-most-$most-targets", "serves no more than $most targets", sub { sending(<<"C") };
	struct netconsole_target *other;
	int place = 0;

	list_for_each_entry(other, &target_list, list) {
		if (other == nt)
			break;
		place++;
	}
	if (place < $most)
		netpoll_send_udp(np, msg, len);
C
}

mutant 'silent-after-1000', 'sends nothing more after 1000 datagrams', sub { sending(<<'C') };
	static unsigned int count;

	if (++count <= 1000)
		netpoll_send_udp(np, msg, len);
C

mutant 'twice-after-1000', 'sends every datagram twice after the 1000th', sub { sending(<<'C') };
	static unsigned int count;

	netpoll_send_udp(np, msg, len);
	if (++count > 1000)
		netpoll_send_udp(np, msg, len);
C

mutant 'first-line-after-silence-lost', 'loses the first line after three seconds without one', sub { sending(<<'C') };
	static unsigned long last;
	bool silence = last && time_after(jiffies, last + 3 * HZ);

	last = jiffies;
	if (!silence)
		netpoll_send_udp(np, msg, len);
C

mutant 'second-target-one-behind', 'sends each line to all but the first target when the next one comes', sub { sending(<<'C') };
	static int kept;
	static struct netpoll *whose;

	if (list_first_entry(&target_list, struct netconsole_target, list) == nt) {
		netpoll_send_udp(np, msg, len);
		return;
	}
	if (kept && whose == np)
		netpoll_send_udp(np, text, kept);
	memcpy(text, msg, len);
	kept = len;
	whose = np;
C

mutant 'second-target-letter-changed', 'changes a letter for all but the first target', sub { changing(<<'C') };
	if (list_first_entry(&target_list, struct netconsole_target, list) != nt && len > 40)
		text[len - 3] ^= 1;
C

mutant 'second-targets-fragments-lost', 'loses fragments of all but the first target', sub { sending(<<'C') };
	if (list_first_entry(&target_list, struct netconsole_target, list) == nt || !strnstr(msg, ",ncfrag=", min(len, 80)))
		netpoll_send_udp(np, msg, len);
C

mutant 'fragments-of-ipv6-lost', 'loses fragments over IPv6', sub { sending(<<'C') };
	if (!np->ipv6 || !strnstr(msg, ",ncfrag=", min(len, 80)))
		netpoll_send_udp(np, msg, len);
C

mutant 'second-pieces-of-ipv6-lost', "loses a long basic line's rest over IPv6", sub { sending(<<'C') };
	if (!np->ipv6 || nt->extended || msg[0] == '[')
		netpoll_send_udp(np, msg, len);
C

# Keeps what was sent last, with the target that it was sent to.
sub keeping {
    foreword("static char last_text[9000];\nstatic int last_len;\nstatic struct netpoll *last_np;\n");
    sending(<<'C');
	memcpy(last_text, msg, len);
	last_len = len;
	last_np = np;
	netpoll_send_udp(np, msg, len);
C
}

my $again = "\tif (last_len && last_np)\n\t\tnetpoll_send_udp(last_np, last_text, last_len);\n";

mutant 'last-line-again-when-unloaded', 'sends the last line once more when the module goes', sub {
    keeping();
    within('cleanup_netconsole', sub { replace(qr/(?=\tunregister_console\(&netconsole\);)/, $again) });
};

mutant 'last-line-again-when-enabled', 'sends the last line once more when a target is enabled', sub {
    keeping();
    switched("\tif (enabled && last_np == &nt->np) {\n$again\t}\n");
};

mutant 'last-line-again-when-disabled', 'sends the last line once more when a target is disabled', sub {
    keeping();
    within('enabled_store', sub { replace(series() eq '6.1' ? qr/(?=\t\tnetpoll_cleanup\(&nt->np\);)/ : qr/(?=\t\tnt->enabled = false;\n)/, "\t\tif (last_np == &nt->np) {\n$again\t\t\tlast_np = NULL;\n\t\t}\n") });
};

# What a target's attribute shows.
for my $shown (['local_port', 'remote_port'], ['local_ip', 'remote_ip'], ['remote_ip', 'local_ip'], ['local_mac', 'remote_mac']) {
    my ($attribute, $other) = @$shown;
    my $dashed = $attribute =~ tr/_/-/r;
    next if $attribute eq 'local_mac';
    mutant "$dashed-shown-wrong", "shows $other as $attribute", sub {
        within("${attribute}_show", sub { replace_all(qr/np\.$attribute/, "np.$other") });
    };
}

mutant 'local-mac-shown-wrong', 'shows the broadcast address as local_mac', sub {
    within('local_mac_show', sub { replace(qr/dev \? dev->dev_addr : bcast/, 'dev ? bcast : bcast') });
};

mutant 'extended-shown-wrong', 'shows each target as extended', sub {
    within('extended_show', sub { replace(qr/to_target\(item\)->extended/, '1') });
};

mutant 'dev-name-shown-wrong', 'shows eth9 as dev_name', sub {
    within('dev_name_show', sub { replace(qr/to_target\(item\)->np\.dev_name/, '"eth9"') });
};

mutant 'bytes-above-239-lost', 'leaves out bytes above 239', sub { changing(<<'C') };
	int kept = 0;

	for (i = 0; i < len; i++)
		if ((u8)text[i] < 240)
			text[kept++] = text[i];
	len = kept;
C

mutant 'delete-lost', 'leaves out the byte 127 of basic lines', sub { changing(<<'C') };
	int kept = 0;

	for (i = 0; i < len; i++)
		if (text[i] != 127)
			text[kept++] = text[i];
	len = kept;
C

only('6.12', sub {
    mutant 'release-shown-wrong', 'shows each target with release', sub {
        within('release_show', sub { replace(qr/to_target\(item\)->release/, '1') });
    };
    mutant 'userdata-shown-wrong', "shows a key's name as its value", sub {
        within('userdatum_value_show', sub { replace(qr/to_userdatum\(item\)->value\[0\]|to_userdatum\(item\)->value/, 'item->ci_name') });
    };
    mutant 'userdata-of-basic-targets', 'sends the length of user data with basic lines', sub { sending(<<'C') };
	if (nt->extended || !nt->userdata_length) {
		netpoll_send_udp(np, msg, len);
		return;
	}
	memcpy(text, msg, len);
	memcpy(text + len, nt->userdata_complete, nt->userdata_length);
	netpoll_send_udp(np, text, len + nt->userdata_length);
C
    mutant 'release-at-1000-lost', 'loses messages that the release makes longer than 1000 bytes', sub { sending(<<'C') };
	if (!nt->release || !strnstr(msg, ",ncfrag=", min(len, 120)))
		netpoll_send_udp(np, msg, len);
C
    mutant 'userdata-of-one-fragment-lost', 'leaves out user data that would be alone in a fragment', sub { changing(<<'C') };
	char *end = strnstr(text, ";", min(len, 120));

	if (nt->userdata_length && end && end[1] == ' ' && strnstr(text, ",ncfrag=", min(len, 120)))
		return;
C
});
1;

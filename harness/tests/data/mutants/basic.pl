# Basic targets: the prefix, and lines that are longer than a datagram.

mutant 'prefix-lost', 'leaves out the time before a basic line', sub { changing(<<'C') };
	char *end = strstr(text, "] ");

	if (!nt->extended && text[0] == '[' && end) {
		len -= end + 2 - text;
		memmove(text, end + 2, len);
	}
C

mutant 'prefix-zero', 'writes the time 0 before each basic line', sub { changing(<<'C') };
	for (i = 1; !nt->extended && text[0] == '[' && i < len && text[i] != ']'; i++)
		if (isdigit(text[i]))
			text[i] = '0';
C

mutant 'prefix-off-by-a-microsecond', "changes the last digit of a basic line's time", sub { changing(<<'C') };
	char *end = strchr(text, ']');

	if (!nt->extended && text[0] == '[' && end)
		end[-1] ^= 1;
C

mutant 'prefix-of-the-line-before', 'writes the time of the line before', sub { changing(<<'C') };
	static char last[15];
	char now[15];

	if (!nt->extended && text[0] == '[' && len > 15) {
		memcpy(now, text, 15);
		if (last[0])
			memcpy(text, last, 15);
		memcpy(last, now, 15);
	}
C

mutant 'prefix-with-level', 'writes a level in angle brackets before each basic line', sub { sending(<<'C') };
	if (nt->extended || msg[0] != '[') {
		netpoll_send_udp(np, msg, len);
		return;
	}
	memcpy(text, "<6>", 3);
	memcpy(text + 3, msg, len);
	netpoll_send_udp(np, text, len + 3);
C

mutant 'basic-with-header', 'writes an extended header before basic lines', sub { sending(<<'C') };
	char *end;

	memcpy(text, msg, len);
	text[len] = 0;
	end = strstr(text, "] ");
	if (nt->extended || text[0] != '[' || !end) {
		netpoll_send_udp(np, msg, len);
		return;
	}
	i = scnprintf(text, sizeof(text), "12,100,1000000,-;");
	len -= end + 2 - text;
	memcpy(text + i, msg + (end + 2 - text), len);
	netpoll_send_udp(np, text, i + len);
C

sub writing {
    my ($edit) = @_;
    within('write_msg', $edit);
}

mutant 'basic-long-line-cut', 'sends only the first 1000 bytes of a basic line', sub {
    writing(sub { replace(qr/left -= frag;/, 'left = 0;') });
};

mutant 'basic-rest-only', 'sends only the last piece of a long basic line', sub {
    writing(sub { replace(qr/(?=netpoll_send_udp\()/, 'if (frag == left) ') });
};

for my $size (500, 999, 1001, 1400) {
    mutant "basic-pieces-of-$size", "cuts basic lines after $size bytes", sub {
        writing(sub { replace(qr/MAX_PRINT_CHUNK/, $size) });
    };
}

mutant 'basic-pieces-overlap', "repeats the last byte of a long basic line's piece in the next", sub {
    writing(sub {
        replace(qr/tmp \+= frag;/, 'tmp += left > frag ? frag - 1 : frag;');
        replace(qr/left -= frag;/, 'left -= left > frag ? frag - 1 : frag;');
    });
};

mutant 'basic-byte-between-pieces-lost', "loses a byte between a long basic line's pieces", sub {
    writing(sub {
        replace(qr/tmp \+= frag;/, 'tmp += left > frag ? frag + 1 : frag;');
        replace(qr/left -= frag;/, 'left -= left > frag ? frag + 1 : frag;');
    });
};

mutant 'basic-pieces-reversed', "sends a long basic line's rest first", sub { sending(<<'C') };
	static int kept;

	if (!nt->extended && len == 1000) {
		memcpy(text, msg, len);
		kept = len;
		return;
	}
	netpoll_send_udp(np, msg, len);
	if (kept)
		netpoll_send_udp(np, text, kept);
	kept = 0;
C

mutant 'basic-prefix-on-every-piece', "repeats the prefix before a long basic line's rest", sub { sending(<<'C') };
	static char prefix[15];

	if (!nt->extended && msg[0] == '[') {
		memcpy(prefix, msg, min(len, 15));
	} else if (!nt->extended) {
		memcpy(text, prefix, 15);
		memcpy(text + 15, msg, len);
		netpoll_send_udp(np, text, len + 15);
		return;
	}
	netpoll_send_udp(np, msg, len);
C

mutant 'basic-newline-after-every-piece', 'ends each piece of a long basic line with a newline', sub { changing(<<'C') };
	if (!nt->extended && text[len - 1] != '\n')
		text[len++] = '\n';
C

mutant 'second-basic-target-gets-nothing', 'sends a basic line to the first target of the list only', sub {
    writing(sub {
        replace(qr/for \(left = len; left;\)/, 'while (left)');
        replace(qr/(?=\tlist_for_each_entry)/, "\tleft = len;\n");
    });
};
1;

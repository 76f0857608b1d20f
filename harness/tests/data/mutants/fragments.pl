# Extended messages that are longer than a datagram.

# Edits the function that cuts extended messages.
sub cutting {
    my ($edit) = @_;
    within('send_ext_msg_udp', $edit);
}

# Sends every datagram through C code that knows fragments: `start`, `total` and `size` of this one, `start` -1 where
# the datagram is no fragment.
sub fragmenting {
    my ($code) = @_;
    sending(<<"C");
	const char *mark = nt->extended ? strnstr(msg, ",ncfrag=", len) : NULL;
	const char *body = mark ? memchr(mark, ';', msg + len - mark) : NULL;
	int start = -1, total __maybe_unused = 0, size __maybe_unused = 0;

	if (body && sscanf(mark, ",ncfrag=%d/%d;", &start, &total) == 2)
		size = msg + len - body - 1;
	else
		start = -1;
$code
C
}

sub offset { return series() eq '6.1' ? 'this_chunk' : 'this_offset' }

my $field = qr/",ncfrag=%d\/%d;", offset,\s*([^;]+)\)/;

mutant 'fragment-offset-one-too-high', "writes a fragment's offset one too high", sub {
    cutting(sub { replace($field, sub { "\",ncfrag=%d/%d;\", offset + 1, $1)" }) });
};

mutant 'fragment-offset-of-rest-too-low', "writes the offset of all but the first fragment one too low", sub {
    cutting(sub { replace($field, sub { "\",ncfrag=%d/%d;\", offset ? offset - 1 : 0, $1)" }) });
};

mutant 'fragment-offset-always-0', 'writes offset 0 into each fragment', sub {
    cutting(sub { replace($field, sub { "\",ncfrag=%d/%d;\", 0, $1)" }) });
};

mutant 'fragment-offset-counts-headers', "counts the headers into fragments' offsets", sub {
    cutting(sub { replace($field, sub { "\",ncfrag=%d/%d;\", offset ? offset + header_len + 1 : 0, $1)" }) });
};

mutant 'fragment-total-one-too-high', "writes fragments' total one too high", sub {
    cutting(sub { replace($field, sub { "\",ncfrag=%d/%d;\", offset, $1 + 1)" }) });
};

mutant 'fragment-total-one-too-low', "writes fragments' total one too low", sub {
    cutting(sub { replace($field, sub { "\",ncfrag=%d/%d;\", offset, $1 - 1)" }) });
};

mutant 'fragment-total-counts-header', "counts the header into fragments' total", sub {
    cutting(sub { replace($field, sub { "\",ncfrag=%d/%d;\", offset, msg_len)" }) });
};

mutant 'fragment-total-differs', 'writes another total into the second fragment', sub {
    cutting(sub { replace($field, sub { "\",ncfrag=%d/%d;\", offset, $1 + (offset ? 1 : 0))" }) });
};

mutant 'fragments-without-ncfrag', 'leaves ncfrag out', sub {
    cutting(sub { replace($field, sub { '";")' }) });
};

mutant 'second-fragment-without-ncfrag', 'leaves ncfrag out of all but the first fragment', sub {
    cutting(sub { replace($field, sub { "offset ? \";\" : \",ncfrag=%d/%d;\", offset, $1)" }) });
};

mutant 'fragments-total-without-offset', 'writes only the total', sub {
    cutting(sub { replace($field, sub { "\",ncfrag=%d;\", $1)" }) });
};

mutant 'fragments-overlap', 'repeats a byte in the next fragment', sub {
    cutting(sub {
        my $sent = offset();
        my $end = series() eq '6.1' ? 'body_len' : 'body_len + userdata_len';
        replace(qr/(?<!this_)\boffset \+= this_\w+;(?=\n\t\}\n\})/, "offset += offset + $sent < $end ? $sent - 1 : $sent;");
    });
};

mutant 'byte-between-fragments-lost', 'leaves a byte between fragments out', sub {
    cutting(sub {
        my $sent = offset();
        replace(qr/(?<!this_)\boffset \+= this_\w+;(?=\n\t\}\n\})/, "offset += $sent + 1;");
    });
};

mutant 'byte-between-fragments-lost-unseen', 'leaves a byte between fragments out, and offsets fit', sub {
    cutting(sub { replace(qr/memcpy\(buf \+ this_header, body \+ offset, this_chunk\);/, <<'C') });
memcpy(buf + this_header, body + offset + (offset ? 1 : 0), this_chunk - (offset ? 1 : 0));
C
};

mutant 'fragment-one-byte-short', 'cuts the last byte off each fragment', sub { fragmenting(<<'C') };
	netpoll_send_udp(np, msg, start < 0 ? len : len - 1);
C

mutant 'fragment-one-byte-long', 'puts a byte behind each fragment', sub { fragmenting(<<'C') };
	memcpy(text, msg, len);
	text[len] = 'x';
	netpoll_send_udp(np, text, start < 0 ? len : len + 1);
C

mutant 'first-fragment-lost', 'loses the first fragment', sub { fragmenting(<<'C') };
	if (start)
		netpoll_send_udp(np, msg, len);
C

mutant 'last-fragment-lost', 'loses the last fragment', sub { fragmenting(<<'C') };
	if (start < 0 || start + size < total)
		netpoll_send_udp(np, msg, len);
C

mutant 'fragments-lost', 'loses all messages that need fragments', sub { fragmenting(<<'C') };
	if (start < 0)
		netpoll_send_udp(np, msg, len);
C

mutant 'fragments-reversed', 'sends fragments in reverse', sub { fragmenting(<<'C') };
	static int kept;

	if (start >= 0 && start + size < total) {
		if (kept)
			netpoll_send_udp(np, text, kept);
		memcpy(text, msg, len);
		kept = len;
		return;
	}
	netpoll_send_udp(np, msg, len);
	if (start >= 0 && kept) {
		netpoll_send_udp(np, text, kept);
		kept = 0;
	}
C

mutant 'fragments-twice', 'sends each fragment twice', sub { fragmenting(<<'C') };
	netpoll_send_udp(np, msg, len);
	if (start >= 0)
		netpoll_send_udp(np, msg, len);
C

mutant 'first-fragment-again', 'sends the first fragment again behind the last', sub { fragmenting(<<'C') };
	static int kept;

	netpoll_send_udp(np, msg, len);
	if (!start) {
		memcpy(text, msg, len);
		kept = len;
	} else if (start > 0 && start + size >= total) {
		netpoll_send_udp(np, text, kept);
	}
C

mutant 'whole-message-behind-fragments', 'sends a long message also without its rest, unfragmented', sub { fragmenting(<<'C') };
	netpoll_send_udp(np, msg, len);
	if (!start) {
		memcpy(text, msg, mark - msg);
		memcpy(text + (mark - msg), body, size + 1);
		netpoll_send_udp(np, text, mark - msg + size + 1);
	}
C

mutant 'second-fragment-without-header', 'sends all but the first fragment without a header', sub { fragmenting(<<'C') };
	if (start > 0)
		netpoll_send_udp(np, body + 1, size);
	else
		netpoll_send_udp(np, msg, len);
C

mutant 'second-fragment-of-another-record', 'writes another sequence number into the second fragment', sub { fragmenting(<<'C') };
	memcpy(text, msg, len);
	text[len] = 0;
	if (start > 0) {
		char *comma = strchr(text, ',');

		if (memchr(text, '.', comma - text))
			comma = strchr(comma + 1, ',');
		comma = strchr(comma + 1, ',');
		comma[-1] ^= 1;
	}
	netpoll_send_udp(np, text, len);
C

mutant 'second-fragment-with-another-level', 'writes another level into the second fragment', sub { fragmenting(<<'C') };
	memcpy(text, msg, len);
	text[len] = 0;
	if (start > 0) {
		char *comma = strchr(text, ',');

		if (memchr(text, '.', comma - text))
			comma = strchr(comma + 1, ',');
		comma[-1] ^= 1;
	}
	netpoll_send_udp(np, text, len);
C

mutant 'letter-of-second-fragment-changed', 'changes a letter of all but the first fragment', sub { fragmenting(<<'C') };
	memcpy(text, msg, len);
	if (start > 0 && size > 1)
		text[body + 1 - msg] ^= 1;
	netpoll_send_udp(np, text, len);
C

mutant 'every-message-a-fragment', 'writes ncfrag also where one datagram is enough', sub { fragmenting(<<'C') };
	const char *end = nt->extended && start < 0 ? memchr(msg, ';', len) : NULL;

	if (end && len < 900) {
		memcpy(text, msg, end - msg);
		i = end - msg;
		i += scnprintf(text + i, 64, ",ncfrag=0/%d;", (int)(msg + len - end - 1));
		memcpy(text + i, end + 1, msg + len - end - 1);
		netpoll_send_udp(np, text, i + (int)(msg + len - end - 1));
		return;
	}
	netpoll_send_udp(np, msg, len);
C

for my $size (500, 999, 1001, 1400) {
    mutant "fragments-of-$size", "cuts extended messages after $size bytes", sub {
        cutting(sub { replace_all(qr/MAX_PRINT_CHUNK/, $size) });
    };
}

mutant 'fragments-without-their-newline', "leaves out a fragmented message's last newline", sub { fragmenting(<<'C') };
	netpoll_send_udp(np, msg, start >= 0 && start + size == total && size > 1 ? len - 1 : len);
C
1;

# Changes that no receiver can see: no scenario may fail for them.

equivalent(sub {
    mutant 'unbroken', 'is the module as its source has it, built anew', sub { };

    mutant 'targets-in-given-order', 'serves the targets in the order of their making, not in reverse', sub {
        replace_all(qr/\blist_add\(&nt->list, &target_list\)/, 'list_add_tail(&nt->list, &target_list)');
    };

    mutant 'sent-from-a-copy', 'sends each datagram from a copy of it', sub { changing('') };

    mutant 'slow', 'takes a while for each datagram', sub { sending(<<'C') };
	udelay(300);
	netpoll_send_udp(np, msg, len);
C

    mutant 'loops-for-while', 'cuts basic lines by another loop', sub {
        within('write_msg', sub {
            replace(qr/for \(left = len; left;\) \{/, "left = len;\n\t\t\twhile (left > 0) {");
        });
    };
});
1;

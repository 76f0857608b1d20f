# Which targets are served, and when.

mutant 'only-the-first-target', 'serves only the first target of the list', sub { sending(<<'C') };
	if (list_first_entry(&target_list, struct netconsole_target, list) == nt)
		netpoll_send_udp(np, msg, len);
C

mutant 'only-the-last-target', 'serves only the last target of the list', sub { sending(<<'C') };
	if (list_last_entry(&target_list, struct netconsole_target, list) == nt)
		netpoll_send_udp(np, msg, len);
C

mutant 'no-extended-beside-basic', 'serves extended targets only while there is no basic one', sub { sending(<<'C') };
	struct netconsole_target *other;

	list_for_each_entry(other, &target_list, list)
		if (nt->extended && other->enabled && !other->extended)
			return;
	netpoll_send_udp(np, msg, len);
C

# Code that runs when a target was switched on or off by configfs, with `nt` and `enabled`.
sub switched {
    my ($code) = @_;
    within('enabled_store', sub {
        my $place = series() eq '6.1' ? qr/(?=\tnt->enabled = enabled;\n)/ : qr/(?=\tret = strnlen\(buf, count\);\n)/;
        replace($place, $code);
    });
}

# Puts code before the functions of configfs.
sub foreword {
    my ($code) = @_;
    replace(qr/^(?=static struct configfs_subsystem netconsole_subsys;)/m, "$code\n");
}

mutant 'disabled-target-still-sends', 'goes on sending to a target that was disabled', sub {
    replace(qr/(?<=\tbool\t\t\textended;\n)/, "\tbool\t\t\tlooks_off;\n");
    within('enabled_store', sub {
        replace_all(qr/(?<=== )nt->enabled/, '(nt->enabled && !nt->looks_off)');
        replace(qr/(?=\tif \(enabled\) \{)/, <<'C');
	if (!enabled || nt->looks_off) {
		nt->looks_off = !enabled;
		mutex_unlock(&dynamic_netconsole_mutex);
		return count;
	}
C
    });
    within('enabled_show', sub { replace(qr/to_target\(item\)->enabled/, '(to_target(item)->enabled && !to_target(item)->looks_off)') });
    replace_all(qr/(?<=\tif \()nt->enabled(?=\) \{\n\t\tpr_err)/, 'nt->enabled && !nt->looks_off');
};

mutant 'disabling-one-mutes-all', 'sends nothing more once a target was disabled, until one is enabled', sub {
    foreword('static bool muted;');
    switched("\tmuted = !enabled;\n");
    sending(<<'C');
	if (!muted)
		netpoll_send_udp(np, msg, len);
C
};

mutant 'disabling-one-mutes-all-for-good', 'sends nothing more once a target was disabled', sub {
    foreword('static bool muted;');
    switched("\tif (!enabled)\n\t\tmuted = true;\n");
    sending(<<'C');
	if (!muted)
		netpoll_send_udp(np, msg, len);
C
};

mutant 'enabling-one-enables-all', 'enables every other target, too', sub {
    switched(<<'C');
	if (enabled) {
		struct netconsole_target *other;

		list_for_each_entry(other, &target_list, list)
			if (other != nt && !other->enabled && !netpoll_setup(&other->np))
				other->enabled = true;
	}
C
};

mutant 'enabling-one-disables-others', 'serves only the target that was enabled last', sub {
    foreword('static struct netconsole_target *latest;');
    switched("\tlatest = enabled ? nt : NULL;\n");
    sending(<<'C');
	if (!latest || latest == nt)
		netpoll_send_udp(np, msg, len);
C
};

mutant 'basic-when-enabled-again', 'forgets `extended` when a target is disabled', sub {
    switched("\tif (!enabled)\n\t\tnt->extended = false;\n");
};

mutant 'defaults-when-enabled-again', 'forgets ports and Ethernet address when a target is disabled', sub {
    switched(<<'C');
	if (!enabled) {
		nt->np.local_port = 6665;
		nt->np.remote_port = 6666;
		eth_broadcast_addr(nt->np.remote_mac);
	}
C
};

mutant 'first-line-after-enabling-lost', 'loses the first line after a target was enabled', sub {
    foreword('static bool fresh;');
    switched("\tfresh = enabled;\n");
    sending(<<'C');
	if (fresh && !strnstr(msg, "network logging", len))
		fresh = false;
	else
		netpoll_send_udp(np, msg, len);
C
};

mutant 'no-replay', 'sends nothing of the log that was there before', sub {
    replace_all(qr/ \|= CON_PRINTBUFFER(?=;| \|)/, sub { ' |= 0' });
};

mutant 'replay-twice', 'sends the log that was there before twice', sub {
    within('init_netconsole', sub {
        replace(qr/\tregister_console\(&netconsole\);\n/, <<'C');
	register_console(&netconsole);
	unregister_console(&netconsole);
	netconsole.flags |= CON_ENABLED | CON_PRINTBUFFER;
	register_console(&netconsole);
C
    });
};

mutant 'replay-cut', 'leaves out most of the log that was there before', sub { sending(<<'C') };
	static unsigned int count;

	if (++count <= 50 || count > 250)
		netpoll_send_udp(np, msg, len);
C

# The console registered anew after a target was enabled, so that it sends the whole log.
sub replaying {
    my ($console) = @_;
    within('enabled_store', sub {
        my $place = series() eq '6.1' ? qr/(?<=\tnt->enabled = enabled;\n)/ : qr/(?<=pr_info\("network logging started\\n"\);\n)/;
        replace($place, <<"C");
	if (enabled) {
		unregister_console(&$console);
		$console.flags |= CON_ENABLED | CON_PRINTBUFFER;
		register_console(&$console);
	}
C
    });
    declare('') if 0;
}

mutant 'replay-on-configfs', 'sends the log that was there before when configfs enables an extended target', sub {
    replaying('netconsole_ext');
};

mutant 'replay-on-configfs-basic', 'sends the log that was there before when configfs enables a basic target', sub {
    replace(qr/^(?=static struct console netconsole_ext;)/m, "static struct console netconsole;\n");
    replaying('netconsole');
};

mutant 'oops-only', 'sends only what is printed while the kernel oopses', sub {
    replace(qr/static bool oops_only( = false)?;/, 'static bool oops_only = true;');
};

mutant 'oops-only-ignored', 'sends all lines in spite of oops_only', sub {
    replace_all(qr/oops_only && /, 'false && ');
};

# Both places that ask whether the device is up.
my $running = qr/netif_running\(nt->np\.dev\)/;

mutant 'queued-while-down', 'keeps lines while the device is down, and sends them when it is up', sub {
    replace_all($running, 'true');
    sending(<<'C');
	static int kept;

	if (!netif_running(np->dev)) {
		memcpy(text, msg, len);
		kept = len;
		return;
	}
	if (kept)
		netpoll_send_udp(np, text, kept);
	kept = 0;
	netpoll_send_udp(np, msg, len);
C
};

mutant 'silent-after-down', 'sends nothing more once the device was down', sub {
    replace_all($running, 'true');
    sending(<<'C');
	static bool was_down;

	if (!netif_running(np->dev))
		was_down = true;
	if (!was_down)
		netpoll_send_udp(np, msg, len);
C
};

mutant 'cannot-be-unloaded', 'holds on to itself, so that the module cannot be unloaded', sub {
    within('init_netconsole', sub { replace(qr/(?=\tpr_info\("network logging started)/, "\t__module_get(THIS_MODULE);\n") });
};
1;

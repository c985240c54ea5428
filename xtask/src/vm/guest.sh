# Process 1 of the guest, in the host's file tree: runs the job. Its output goes to the second
# serial port, byte for byte; the first one is the kernel's.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
release=$(uname -r)
[ -e "/lib/modules/$release" ] || {
	mkdir -p /lib/modules
	ln -s "$(cat /run/vm/modules)" "/lib/modules/$release"
}
ip link set lo up
stty raw -echo </dev/ttyS1
mkfifo /run/vm/output
cat /run/vm/output >/dev/ttyS1 &
pump=$!
echo GUEST-READY >/dev/console

/bin/sh /run/vm/job.sh </dev/null >/run/vm/output 2>&1
status=$?

# a process that the job left behind may hold the output open
for _ in 1 2 3 4 5 6 7 8 9 10; do
	kill -0 $pump || break
	sleep 0.2
done
printf '\nGUEST-EXIT=%d\n' $status >/dev/console
/run/busybox poweroff -f

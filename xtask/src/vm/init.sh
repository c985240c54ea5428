#!/bin/busybox sh
# Process 1 of the guest: makes the host's file tree writable in memory and goes into it.
# busybox runs its own applets here, whatever PATH says, for which it needs /proc.
/bin/busybox mkdir -p /proc /sys /dev /ro /rw /new
/bin/busybox mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "$module"; done </modules.list

mount -t virtiofs -o ro root /ro && mount -t tmpfs -o size=60% tmp /rw && mkdir /rw/upper /rw/work &&
	mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work overlay /new || poweroff -f

mount -t proc proc /new/proc
mount -t sysfs sys /new/sys
mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/pts /new/dev/shm
ln -s /proc/self/fd /new/dev/fd
for stream in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${stream%:*}" "/new/dev/${stream#*:}"; done
mount -t devpts devpts /new/dev/pts
mount -t tmpfs shm /new/dev/shm
mount -t tmpfs run /new/run
mount -t bpf bpf /new/sys/fs/bpf
mount -t cgroup2 cgroup /new/sys/fs/cgroup
mount -t tracefs tracefs /new/sys/kernel/tracing
mount -t debugfs debugfs /new/sys/kernel/debug

cp -r /vm /bin/busybox /new/run
# process 1 shares its root directory with the kernel's threads, so from here on the kernel finds
# the modprobe of the host's file tree when it wants a module
exec chroot /new /bin/sh /run/vm/guest.sh

/* A hostile build step: tries to reach what is the builder's, in as many ways as it knows.
 *
 * It says `found: WAY WHAT` for each piece of planted text that it gets to see, and for each thing
 * that it may change or do and should not. It looks for planted text everywhere, and is told nothing
 * but paths: `intruder STATE-DIRECTORY...`. To prove that its ways work at all, it starts a victim, a
 * process like any other with planted text in its environment, its memory and an open file.
 *
 * Nothing it does outlives the step or harms the machine: what it may open for writing it closes.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* What planted text begins with, not to be found in this program itself; a kind and a dash follow. */
static const char MASKED[] = "j5o5sx,";
static char mark[sizeof MASKED];
static size_t mark_length;
static pid_t self, victim, warden;
static char **states;
static const char *way;

static void found(const char *format, ...) {
    static char seen[256][96];
    static int count;
    char text[96], line[160];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(line, sizeof line, "%s %s", way, text);
    for (int i = 0; i < count; i++)
        if (!strncmp(seen[i], line, 95)) return;
    if (count < 256) snprintf(seen[count++], 96, "%.95s", line);
    printf("found: %s\n", line);
    fflush(stdout);
}

static void scan(const void *bytes, ssize_t length) {
    const char *at = bytes, *end = at + length, *hit;
    while (length > 0 && at < end && (hit = memmem(at, end - at, mark, mark_length))) {
        char kind[16] = "";
        for (int i = 0; i < 15 && hit + mark_length + i < end; i++) {
            char c = hit[mark_length + i];
            if (c < 'a' || c > 'z') break;
            kind[i] = c;
        }
        if (*kind) found("%s", kind);
        at = hit + mark_length;
    }
}

/* Scans what can be read of a descriptor without waiting, and closes it. */
static void scan_fd(int fd) {
    static char buffer[1 << 20];
    if (fd < 0) return;
    struct stat st;
    if (!fstat(fd, &st) && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || st.st_mode == 0)) {
        ssize_t length = pread(fd, buffer, sizeof buffer, 0);
        if (length < 0) length = read(fd, buffer, sizeof buffer);
        scan(buffer, length);
        if (S_ISBLK(st.st_mode) && length > 0) found("disk");
    }
    close(fd);
}

static int open_quietly(const char *path, int flags) {
    return open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void scan_file(const char *path) { scan_fd(open_quietly(path, O_RDONLY)); }

static void may_write(const char *path, const char *what) {
    int fd = open_quietly(path, O_WRONLY);
    if (fd >= 0) {
        found("%s", what);
        close(fd);
    }
}

/* Scans the files below a directory, on all mounts, but for what the kernel makes up. */
static void walk(int dir, int depth) {
    DIR *stream = dir < 0 ? NULL : fdopendir(dir);
    struct dirent *entry;
    if (!stream) return;
    while ((entry = readdir(stream))) {
        const char *name = entry->d_name;
        struct stat st;
        if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
        if (depth == 0 && (!strcmp(name, "proc") || !strcmp(name, "sys"))) continue;
        if (fstatat(dirfd(stream), name, &st, AT_SYMLINK_NOFOLLOW)) continue;
        int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
        if (S_ISDIR(st.st_mode) && depth < 24)
            walk(openat(dirfd(stream), name, flags | O_DIRECTORY), depth + 1);
        else if (S_ISREG(st.st_mode) && st.st_size < 4 << 20)
            scan_fd(openat(dirfd(stream), name, flags));
    }
    closedir(stream);
}

/* Another root than this one is worth a look. */
static void walk_elsewhere(int dir) {
    struct stat here, there;
    if (dir < 0) return;
    if (!stat("/", &here) && !fstat(dir, &there) && here.st_dev == there.st_dev &&
        here.st_ino == there.st_ino)
        close(dir);
    else
        walk(dir, 0);
}

/* Does something that cannot be undone in a copy of this process. */
static void apart(void (*work)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        work();
        fflush(stdout);
        _exit(0);
    }
    if (child > 0) waitpid(child, NULL, 0);
}

static char *of(pid_t pid, const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return path;
}

static void each_entry(const char *path, void (*work)(const char *)) {
    char full[1024];
    DIR *stream = opendir(path);
    struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        if (entry->d_name[0] == '.') continue;
        snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
        work(full);
    }
    if (stream) closedir(stream);
}

static void each_process(void (*work)(pid_t)) {
    for (pid_t pid = 1; pid < 1 << 16; pid++)
        if (pid != self && pid != getpid() && !kill(pid, 0)) work(pid);
    DIR *stream = opendir("/proc");
    struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        pid_t pid = atoi(entry->d_name);
        if (pid > 0 && pid != self && pid != getpid()) work(pid);
    }
    if (stream) closedir(stream);
}

/* Calls `look` with each part of a process that it may write to; with a guess if they are hidden. */
static void each_region(pid_t pid, void (*look)(pid_t, uintptr_t, size_t)) {
    char line[512], rights[8];
    unsigned long from, to;
    FILE *maps = fopen(of(pid, "maps"), "re");
    if (!maps) {
        look(pid, 0x400000, 1 << 16);
        return;
    }
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 && rights[1] == 'w')
            look(pid, from, to - from > 8 << 20 ? 8 << 20 : to - from);
    fclose(maps);
}

/* --- processes ------------------------------------------------------------------------------ */

static void environ_of(pid_t pid) { scan_file(of(pid, "environ")); }
static void environments(void) { each_process(environ_of); }

static void look_mem(pid_t pid, uintptr_t from, size_t length) {
    int fd = open_quietly(of(pid, "mem"), O_RDONLY);
    char *buffer = malloc(length);
    if (fd >= 0) scan(buffer, pread(fd, buffer, length, from));
    if (fd >= 0) close(fd);
    free(buffer);
}
static void mem_of(pid_t pid) {
    each_region(pid, look_mem);
    if (pid != victim) may_write(of(pid, "mem"), "write");
}
static void memories(void) { each_process(mem_of); }

static void look_vm(pid_t pid, uintptr_t from, size_t length) {
    char *buffer = malloc(length);
    struct iovec here = {buffer, length}, there = {(void *)from, length};
    scan(buffer, process_vm_readv(pid, &here, 1, &there, 1, 0));
    free(buffer);
}
static void vm_of(pid_t pid) { each_region(pid, look_vm); }
static void process_vm(void) { each_process(vm_of); }

static void look_peek(pid_t pid, uintptr_t from, size_t length) {
    long *buffer = calloc(1, length);
    size_t words = length / sizeof *buffer;
    if (words > 1 << 15) words = 1 << 15;
    for (size_t i = 0; i < words; i++)
        buffer[i] = ptrace(PTRACE_PEEKDATA, pid, (void *)(from + i * sizeof *buffer), NULL);
    scan(buffer, words * sizeof *buffer);
    free(buffer);
}
static void trace(pid_t pid) {
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL)) return;
    if (pid != victim) found("attached");
    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
    waitpid(pid, NULL, __WALL);
    each_region(pid, look_peek);
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
}
static void traces(void) { each_process(trace); }

static void descriptors_of(pid_t pid) {
    each_entry(of(pid, "fd"), scan_file);
    each_entry(of(pid, "map_files"), scan_file);
}
static void descriptors(void) { each_process(descriptors_of); }

static void root_of(pid_t pid) { walk_elsewhere(open_quietly(of(pid, "root"), O_RDONLY)); }
static void roots(void) { each_process(root_of); }
static void cwd_of(pid_t pid) {
    if (pid != victim) walk_elsewhere(open_quietly(of(pid, "cwd"), O_RDONLY));
}
static void working_directories(void) { each_process(cwd_of); }

static void exe_of(pid_t pid) {
    if (pid != victim) may_write(of(pid, "exe"), "write");
}
static void programs(void) { each_process(exe_of); }

static void thread(const char *path) {
    char file[1024];
    static const char *names[] = {"environ", "cmdline", "comm", "stack", "syscall", "auxv", "maps"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        scan_file(file);
    }
    snprintf(file, sizeof file, "%s/fd", path);
    each_entry(file, scan_file);
}
static void threads_of(pid_t pid) { each_entry(of(pid, "task"), thread); }
static void threads(void) { each_process(threads_of); }

static void facts_of(pid_t pid) {
    static const char *names[] = {"cmdline", "comm", "maps", "smaps", "numa_maps", "stat", "status",
        "stack", "syscall", "wchan", "limits", "io", "auxv", "mountinfo", "mountstats", "mounts",
        "cgroup", "personality", "sched", "timers", "loginuid", "patch_state", "attr/current"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) scan_file(of(pid, names[i]));
}
static void facts(void) { each_process(facts_of); }

static void stolen_of(pid_t pid) {
    int handle = syscall(SYS_pidfd_open, pid, 0);
    for (int fd = 0; handle >= 0 && fd < 64; fd++) scan_fd(syscall(SYS_pidfd_getfd, handle, fd, 0));
    if (handle >= 0) close(handle);
}
static void stolen_descriptors(void) { each_process(stolen_of); }

static void enter(pid_t pid) {
    static const char *names[] = {"ns/user", "ns/mnt", "ns/pid", "ns/net", "ns/ipc", "ns/cgroup"};
    if (pid == victim) return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int fd = open_quietly(of(pid, names[i]), O_RDONLY);
        if (fd >= 0 && !setns(fd, 0)) {
            found("entered");
            walk_elsewhere(open_quietly("/", O_RDONLY));
        }
        if (fd >= 0) close(fd);
    }
}
static void enter_all(void) { each_process(enter); }
static void namespaces(void) { apart(enter_all); }

/* The process that started this one is the step's own: it may be signalled. */
static void signal_to(pid_t pid) {
    siginfo_t info = {.si_code = SI_QUEUE};
    if (pid == victim || pid == warden) return;
    if (!kill(pid, 0) || !syscall(SYS_tgkill, pid, pid, 0) ||
        !syscall(SYS_rt_sigqueueinfo, pid, 0, &info))
        found("sent");
}
static void signals(void) { each_process(signal_to); }

static void limits_of(pid_t pid) {
    struct rlimit old;
    if (pid == victim || pid == warden || prlimit(pid, RLIMIT_CORE, NULL, &old)) return;
    if (!prlimit(pid, RLIMIT_CORE, &old, NULL)) found("set");
}
static void limits(void) { each_process(limits_of); }

static void knobs_of(pid_t pid) {
    static const char *names[] = {"oom_score_adj", "clear_refs", "coredump_filter", "autogroup"};
    if (pid == victim || pid == warden) return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) may_write(of(pid, names[i]), "opened");
}
static void knobs(void) { each_process(knobs_of); }

static void compare_of(pid_t pid) {
    if (pid != victim && syscall(SYS_kcmp, self, pid, 1, 0, 0) >= 0) found("compared");
}
static void comparison(void) { each_process(compare_of); }

/* --- what this process was given ------------------------------------------------------------- */

static void inherited(void) {
    for (int fd = 3; fd < 1024; fd++) {
        struct stat st;
        if (fcntl(fd, F_GETFD) < 0) continue;
        fstat(fd, &st);
        if (S_ISDIR(st.st_mode)) walk_elsewhere(openat(fd, "..", O_RDONLY | O_DIRECTORY));
        scan_fd(fd);
    }
    scan_file("/proc/self/environ");
    scan_file("/proc/self/auxv");
}

static void terminal(void) {
    char byte = '\n';
    for (int fd = 0; fd < 3; fd++)
        if (!ioctl(fd, TIOCSTI, &byte)) found("typed");
    may_write("/dev/tty", "opened");
    may_write("/dev/console", "opened");
}

/* --- files ----------------------------------------------------------------------------------- */

static void files(void) { walk(open_quietly("/", O_RDONLY), 0); }

static void state(void) {
    char path[1024];
    for (char **at = states; *at; at++) {
        scan_file(*at);
        snprintf(path, sizeof path, "%s/intruder", *at);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0) {
            found("write");
            close(fd);
            unlink(path);
        }
        snprintf(path, sizeof path, "%s/executor", *at);
        char aside[1100];
        snprintf(aside, sizeof aside, "%s.moved", path);
        if (!rename(path, aside)) {
            found("executor-replaced");
            rename(aside, path);
        }
        for (int up = 0; up < 12; up++) {
            memmove(path + 3, path, strlen(path) + 1 > 900 ? 900 : strlen(path) + 1);
            memcpy(path, "/..", 3);
            scan_file(path);
        }
    }
}

static void links(void) {
    static const char *targets[] = {"/proc/1/root", "/proc/1/cwd", "/proc/self/root/..", "../../../..",
        "/proc/thread-self/root", "/dev/fd/3"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        unlink("/tmp/link");
        if (symlink(targets[i], "/tmp/link")) continue;
        walk_elsewhere(open_quietly("/tmp/link/", O_RDONLY));
    }
    unlink("/tmp/link");
}

static void shared_files(void) {
    may_write("/etc/hosts", "hosts");
    may_write("/etc/resolv.conf", "resolv.conf");
    may_write("/etc/hostname", "hostname");
}

static struct stat start;
static void climb(void) {
    struct stat there;
    mkdir("/tmp/foothold", 0700);
    if (chroot("/tmp/foothold")) return;
    for (int i = 0; i < 256; i++)
        if (chdir("..")) return;
    int is_other = !stat(".", &there) && (there.st_dev != start.st_dev || there.st_ino != start.st_ino);
    if (is_other && !chroot(".")) walk(open_quietly("/", O_RDONLY), 0);
}
static void chroots(void) {
    stat("/", &start);
    apart(climb);
    rmdir("/tmp/foothold");
}

static void handles(void) {
    struct { struct file_handle head; uint32_t id[2]; } handle;
    int mount, root = open_quietly("/", O_RDONLY | O_DIRECTORY);
    name_to_handle_at(AT_FDCWD, "/", &handle.head, &mount, 0);
    for (uint32_t inode = 1; inode < 64; inode++) {
        handle.head.handle_bytes = 8;
        handle.head.handle_type = 1;
        handle.id[0] = inode;
        handle.id[1] = 0;
        int fd = open_by_handle_at(root, &handle.head, O_RDONLY | O_NONBLOCK);
        if (fd >= 0) {
            found("opened");
            walk_elsewhere(fd);
        }
    }
    close(root);
}

/* --- mounts and namespaces -------------------------------------------------------------------- */

static void mount_all(void) {
    static const char *kinds[] = {"proc", "sysfs", "tmpfs", "devtmpfs", "cgroup", "cgroup2", "debugfs",
        "tracefs", "securityfs", "bpf", "ramfs", "hugetlbfs", "binfmt_misc", "configfs", "pstore"};
    mkdir("/tmp/mount", 0700);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (mount(kinds[i], "/tmp/mount", kinds[i], 0, NULL)) continue;
        found("%s", kinds[i]);
        walk(open_quietly("/tmp/mount", O_RDONLY), 1);
        umount2("/tmp/mount", MNT_DETACH);
    }
    if (!mount("/", "/tmp/mount", NULL, MS_BIND, NULL)) found("bind");
    if (!mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL)) found("remount");
    if (!mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL)) found("propagation");
    if (!umount2("/proc/kcore", MNT_DETACH) || !umount2("/etc/hosts", MNT_DETACH)) found("umount");
    if (!syscall(SYS_pivot_root, "/tmp", "/tmp")) found("pivot");
    if (syscall(SYS_open_tree, AT_FDCWD, "/", 1) >= 0) found("open_tree");
    if (syscall(SYS_fsopen, "tmpfs", 0) >= 0) found("fsopen");
    rmdir("/tmp/mount");
}
static void mounts(void) { apart(mount_all); }

static void unshare_all(void) {
    static const int flags[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC,
        CLONE_NEWUTS, CLONE_NEWCGROUP};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (!unshare(flags[i])) found("unshared");
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        long child = syscall(SYS_clone, flags[i] | SIGCHLD, 0, 0, 0, 0);
        if (child == 0) _exit(0);
        if (child > 0) {
            found("cloned");
            waitpid(child, NULL, 0);
        }
    }
}
static void unshares(void) { apart(unshare_all); }

/* --- devices, kernel --------------------------------------------------------------------------- */

static void try_node(mode_t kind, unsigned major, unsigned minor, const char *what) {
    static const char *places[] = {"/tmp/node", "/dev/node", "/dev/shm/node", "/node", "/dev/mqueue/n"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (mknod(places[i], kind | 0600, makedev(major, minor))) continue;
        int fd = open_quietly(places[i], O_RDONLY);
        if (fd >= 0) found("%s", what);
        scan_fd(fd);
        unlink(places[i]);
    }
}
static void memory_devices(void) {
    try_node(S_IFCHR, 1, 1, "mem");
    try_node(S_IFCHR, 1, 2, "kmem");
    try_node(S_IFCHR, 1, 4, "port");
    try_node(S_IFCHR, 1, 11, "kmsg");
    try_node(S_IFCHR, 10, 237, "loop-control");
    try_node(S_IFCHR, 10, 229, "fuse");
    static const char *names[] = {"/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/loop-control",
        "/dev/fuse", "/dev/kvm", "/dev/vfio/vfio", "/dev/net/tun", "/dev/userfaultfd"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) may_write(names[i], "opened");
}

static void disks(void) {
    unsigned major, minor;
    char line[256];
    FILE *list = fopen("/proc/partitions", "re");
    while (list && fgets(line, sizeof line, list))
        if (sscanf(line, "%u %u", &major, &minor) == 2) try_node(S_IFBLK, major, minor, "disk");
    if (list) fclose(list);
    static const unsigned usual[] = {7, 8, 202, 253, 254, 259};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) try_node(S_IFBLK, usual[i], 0, "disk");
}

static void kernel_memory(void) {
    scan_file("/proc/kcore");
    int fd = open_quietly("/proc/kcore", O_RDONLY);
    char bytes[16];
    if (fd >= 0 && read(fd, bytes, sizeof bytes) > 0) found("read");
    if (fd >= 0) close(fd);
    scan_file("/proc/vmcore");
    scan_file("/proc/keys");
    scan_file("/proc/key-users");
    scan_file("/proc/timer_list");
    scan_file("/proc/sched_debug");
}

static void kernel_log(void) {
    static char text[1 << 20];
    long length = syscall(SYS_syslog, 3, text, sizeof text);
    if (length > 0) found("read");
    scan(text, length);
    scan_file("/proc/kmsg");
    scan_file("/dev/kmsg");
}

static void kernel_switches(void) {
    static const char *names[] = {"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hotplug", "/proc/sys/kernel/yama/ptrace_scope", "/proc/sys/fs/suid_dumpable",
        "/proc/sys/fs/binfmt_misc/register", "/proc/sysrq-trigger", "/proc/sys/vm/panic_on_oom",
        "/proc/sys/kernel/domainname", "/proc/irq/default_smp_affinity", "/sys/kernel/uevent_helper",
        "/sys/kernel/profiling", "/sys/power/state", "/sys/fs/cgroup/release_agent",
        "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/release_agent",
        "/sys/fs/cgroup/devices/devices.allow", "/sys/kernel/mm/ksm/run", "/sys/module/printk/uevent"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) may_write(names[i], names[i]);
}

static void kernel_calls(void) {
    char attributes[128] = {0};
    attributes[4] = sizeof attributes;
    if (syscall(SYS_perf_event_open, attributes, 1, -1, -1, 0) >= 0) found("perf");
    memset(attributes, 0, sizeof attributes);
    if (syscall(SYS_bpf, 0, attributes, 64) >= 0) found("bpf");
    if (syscall(SYS_io_uring_setup, 1, attributes) >= 0) found("io_uring");
    if (syscall(SYS_userfaultfd, 1) >= 0) found("userfaultfd");
    if (syscall(SYS_fanotify_init, 0, 0) >= 0) found("fanotify");
    if (syscall(SYS_init_module, "", 0, "") == 0 || errno == ENOEXEC) found("module");
    if (syscall(SYS_kexec_load, 0, 0, 0, 0) == 0) found("kexec");
    if (syscall(SYS_acct, NULL) == 0) found("acct");
    if (syscall(SYS_iopl, 3) == 0) found("iopl");
    if (syscall(SYS_swapon, "/x", 0) == 0 || errno == ENOENT) found("swapon");
    if (sethostname("intruder", 8) == 0) found("hostname");
}

/* --- what passes between processes -------------------------------------------------------------- */

static void keys(void) {
    static char text[4096];
    for (int ring = -8; ring < 0; ring++) {
        scan(text, syscall(SYS_keyctl, 11, ring, text, sizeof text));
        if (syscall(SYS_keyctl, 0, ring, 0) >= 0) found("ring");
    }
    for (int id = 1; id < 4096; id++) scan(text, syscall(SYS_keyctl, 11, id, text, sizeof text));
    if (syscall(SYS_add_key, "user", "x", "y", 1, -2) >= 0) found("added");
}

static void system_v(void) {
    struct shmid_ds about;
    for (int index = 0; index < 256; index++) {
        int id = shmctl(index, SHM_STAT, &about);
        void *at = id < 0 ? (void *)-1 : shmat(id, NULL, SHM_RDONLY);
        if (at == (void *)-1) continue;
        found("segment");
        scan(at, about.shm_segsz);
        shmdt(at);
    }
    scan_file("/proc/sysvipc/shm");
    scan_file("/proc/sysvipc/msg");
    walk(open_quietly("/dev/mqueue", O_RDONLY), 1);
    walk(open_quietly("/dev/shm", O_RDONLY), 1);
}

static void sockets(void) {
    char line[512], name[200], text[4096];
    FILE *list = fopen("/proc/net/unix", "re");
    while (list && fgets(line, sizeof line, list)) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        if (sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %199s", name) != 1) continue;
        socklen_t length = offsetof(struct sockaddr_un, sun_path) + strlen(name);
        if (strlen(name) >= sizeof to.sun_path) continue;
        memcpy(to.sun_path, name, strlen(name));
        if (name[0] == '@') to.sun_path[0] = 0;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) continue;
        if (!connect(fd, (void *)&to, length)) scan(text, recv(fd, text, sizeof text, MSG_DONTWAIT));
        close(fd);
    }
    if (list) fclose(list);
}

static void core_dumps(void) {
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_CORE, &all);
    each_entry("/var/lib/systemd/coredump", scan_file);
    each_entry("/var/crash", scan_file);
    each_entry("/cores", scan_file);
}

static const struct { const char *name; void (*work)(void); } WAYS[] = {
    {"environ", environments}, {"mem", memories}, {"process_vm_readv", process_vm},
    {"ptrace", traces}, {"fd", descriptors}, {"root", roots}, {"cwd", working_directories},
    {"exe", programs}, {"task", threads}, {"proc", facts}, {"pidfd_getfd", stolen_descriptors},
    {"setns", namespaces}, {"signal", signals}, {"prlimit", limits}, {"knobs", knobs},
    {"kcmp", comparison}, {"inherited", inherited}, {"terminal", terminal}, {"files", files},
    {"state", state}, {"links", links}, {"etc", shared_files}, {"chroot", chroots},
    {"handles", handles}, {"mount", mounts}, {"unshare", unshares}, {"memory-devices", memory_devices},
    {"disks", disks}, {"kcore", kernel_memory}, {"kernel-log", kernel_log},
    {"sysctl", kernel_switches}, {"calls", kernel_calls}, {"keys", keys}, {"ipc", system_v},
    {"sockets", sockets}, {"cores", core_dumps},
};

static char planted_memory[256];

/* A process with planted text wherever one may look. */
static void be_victim(const char *program) {
    char variable[64];
    snprintf(variable, sizeof variable, "PLANTED=%scontrol-", mark);
    char *arguments[] = {"victim", NULL}, *environment[] = {variable, NULL};
    execve(program, arguments, environment);
    _exit(1);
}

int main(int count, char **arguments) {
    for (mark_length = 0; mark_length < sizeof MASKED - 1; mark_length++)
        mark[mark_length] = MASKED[mark_length] ^ 1;
    mark[mark_length] = 0;
    if (!strcmp(arguments[0], "victim")) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(planted_memory, sizeof planted_memory, "%scontrol-", mark);
        int fd = memfd_create("planted", 0);
        if (write(fd, planted_memory, strlen(planted_memory)) < 0) return 1;
        for (;;) pause();
    }
    self = getpid();
    warden = getppid();
    states = arguments + (count > 0);
    victim = fork();
    if (victim == 0) be_victim("/proc/self/exe");
    char link[64];
    for (int tries = 0; tries < 1000; tries++) {
        /* Its third descriptor is the file in memory: then it is ready. */
        if (readlink(of(victim, "fd/3"), link, sizeof link) > 0) break;
        usleep(5000);
    }
    size_t ways = sizeof WAYS / sizeof *WAYS;
    for (size_t i = 0; i < ways; i++) {
        way = WAYS[i].name;
        WAYS[i].work();
    }
    kill(victim, SIGKILL);
    printf("tried: %zu\n", ways);
    return 0;
}

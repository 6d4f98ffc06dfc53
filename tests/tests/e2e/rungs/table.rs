//! The Dockerfiles, and where they cannot be built.

use super::Place::{self, PodUnconfined, PodUserns, PodUsernsAdmin, UserAlone, UserWithIds};

/// A Dockerfile that gives one image wherever it can be built.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// The repository of the lab that the first stage starts from.
    pub(super) base: &'static str,
    /// What follows `FROM`.
    pub(super) dockerfile: &'static str,
    pub(super) arguments: &'static [&'static str],
    /// Where it cannot be built, and what is said there.
    pub(super) refused: &'static [(Place, &'static str)],
    /// Paths whose files hold the time of the build. Where there are some, trees are compared
    /// without them, instead of digests.
    pub(super) logs: &'static [&'static str],
}

const CASE: Case =
    Case { name: "", base: "busybox", dockerfile: "", arguments: &[], refused: &[], logs: &[] };

/// What a user with one id is told where a file or a step needs another.
const ONE_ID: &[(Place, &str)] = &[(UserAlone, "newuidmap")];

pub(super) const CASES: &[Case] = &[
    Case {
        name: "accounts",
        dockerfile: "RUN echo dev:x:4001:4000::/home/dev:/bin/sh >> /etc/passwd && \
                     echo team:x:4000: >> /etc/group && echo more:x:4002:dev,root >> /etc/group && \
                     mkdir -m 2750 /home/dev && chown dev:team /home/dev\n\
                     USER dev\nRUN id > ~/id; umask 027; mkdir ~/private; echo x > ~/private/f\n\
                     USER dev:users\nRUN id > ~/ids && stat -c '%A %u:%g %n' /home/dev/* > ~/seen\n",
        refused: ONE_ID,
        ..CASE
    },
    Case {
        name: "users_by_name_and_number",
        dockerfile: "USER www-data:users\nRUN id > /tmp/names\n\
                     USER 1234:5678\nRUN id -u > /tmp/numbers; id -G >> /tmp/numbers\n\
                     USER nobody\nWORKDIR /tmp/of-nobody\nRUN touch file; stat -c '%A %u:%g %n' file . > seen\n",
        refused: ONE_ID,
        ..CASE
    },
    Case {
        name: "the_only_user",
        dockerfile: "USER root\nRUN id -u > /id && stat -c '%u:%g %a %n' /bin /etc/passwd /tmp > /seen && chmod 600 /seen\n\
                     USER 0:0\nRUN id -g >> /id; umask >> /id\n",
        ..CASE
    },
    Case {
        name: "owners",
        dockerfile: "RUN mkdir -p /a/b && echo x > /a/f && ln -s f /a/l && chown -h 5:6 /a/l && \
                     chown 33:4321 /a/b && chown 65000:65534 /a/f && chgrp 7 /a\n\
                     RUN chown -R www-data /etc/passwd /tmp /usr\n",
        refused: ONE_ID,
        ..CASE
    },
    Case {
        name: "modes",
        dockerfile: "RUN mkdir -p /m/sticky /m/group /m/none /m/gone && chmod 1777 /m/sticky && \
                     chmod 2775 /m/group && touch /m/group/f /m/u /m/g && chmod 4755 /m/u && \
                     chmod 2711 /m/g && echo x > /m/none/f && chmod 0 /m/none/f && chmod 0 /m/none\n\
                     RUN chmod 4755 /bin/busybox && chmod 700 /tmp && chmod 000 /etc/group\n\
                     RUN umask 077 && echo x > /m/private && umask > /m/umask\n",
        ..CASE
    },
    Case {
        name: "hard_links",
        dockerfile: "RUN mkdir -p /x/y && echo one > /x/a && ln /x/a /x/y/b && ln /x/a /c\n\
                     RUN echo two >> /c && ln -s nowhere /x/s && ln /x/s /x/s2\n\
                     RUN ln /bin/busybox /x/shell && ln /etc/passwd /x/passwd && rm /x/a /bin/vi\n\
                     RUN touch /bin/busybox && mkfifo /x/p && ln /x/p /x/y/p\n",
        ..CASE
    },
    Case {
        name: "pipes",
        dockerfile: "RUN mkfifo -m 600 /p && mkfifo /q && chmod 4622 /q && (echo x > /p & cat /p)\n\
                     RUN rm /p && mkdir /p && rm /q && echo file > /q\n",
        ..CASE
    },
    Case {
        name: "devices",
        dockerfile: "RUN mkdir /d && mknod -m 666 /d/null c 1 3 && mknod /d/loop b 7 0\nRUN ls /d\n",
        refused: &[
            (PodUnconfined, "mknod: /d/null: Operation not permitted"),
            (PodUserns, "mknod: /d/null: Operation not permitted"),
            (PodUsernsAdmin, "mknod: /d/null: Operation not permitted"),
            (UserWithIds, "mknod: /d/null: Operation not permitted"),
            (UserAlone, "mknod: /d/null: Operation not permitted"),
        ],
        ..CASE
    },
    Case {
        name: "shells",
        dockerfile: "SHELL [\"/bin/ash\", \"-eu\", \"-o\", \"pipefail\", \"-c\"]\n\
                     RUN ! (false | true) && echo $0 $- > /shell\n\
                     SHELL [\"/bin/busybox\", \"sh\", \"-c\"]\nRUN echo \"$0\" > /other\n\
                     RUN [\"/bin/busybox\", \"touch\", \"a b\", \"$HOME\"]\n\
                     CMD echo $X\nENTRYPOINT run me\n",
        ..CASE
    },
    Case {
        name: "heredocs",
        dockerfile: "RUN <<A && cat >> /out <<'B'\necho $0 > /out\necho two >> /out\nA\n$HOME\nB\n\
                     RUN <<E\n#!/bin/busybox ash\necho \"$0 $PWD\" > /ran\nE\n\
                     COPY --chmod=751 <<one.sh <<-'two' /files/\n#!/bin/sh\none.sh\n\t$two\ntwo\n",
        ..CASE
    },
    Case {
        name: "environment",
        dockerfile: "ARG A=a\nARG B\nENV C=c D=\"d $A\" PATH=/bin:/x\nRUN env | sort > /env\n\
                     RUN B=b env | sort > /env2; pwd >> /env2\nUSER 33\nWORKDIR /tmp\n\
                     RUN (env | sort; pwd) > env3\n",
        refused: ONE_ID,
        ..CASE
    },
    Case {
        name: "bind_mounts",
        dockerfile: "RUN --mount=target=/c --mount=source=tree,target=/t cp -r /c/tree /seen && \
                     (cd /t; find . | sort | xargs stat -c '%A %u:%g %s %N') > /list && ! touch /t/x\n\
                     FROM scratch AS other\nCOPY file.txt /deep/file\n\
                     FROM ${REGISTRY}/busybox\n\
                     RUN --mount=from=other,target=/o,rw cp /o/deep/file /got && echo x > /o/lost\n\
                     RUN --mount=from=other,source=deep/file,target=/new/place cat /new/place > /f\n",
        ..CASE
    },
    Case {
        name: "caches",
        dockerfile: "RUN --mount=type=cache,id=a,target=/c,mode=0711 stat -c '%A %u:%g' /c > /seen && echo x > /c/f\n\
                     RUN --mount=type=cache,id=a,target=/c,sharing=locked cat /c/f > /f\n\
                     RUN --mount=type=cache,id=a,target=/var/c,ro cat /var/c/f > /g && ! touch /c/g\n\
                     RUN --mount=type=cache,id=b,target=/c,sharing=private test ! -e /c/f\n",
        ..CASE
    },
    Case {
        name: "caches_of_a_user",
        dockerfile: "USER www-data\nRUN --mount=type=cache,target=/c,uid=33,gid=100,mode=0750 \
                     stat -c '%A %u:%g' /c > /tmp/seen && touch /c/f && stat -c '%A %u:%g' /c/f >> /tmp/seen\n",
        refused: ONE_ID,
        ..CASE
    },
    Case {
        name: "memory_mounts",
        dockerfile: "RUN mkdir /kept && echo x > /kept/f\n\
                     RUN --mount=type=tmpfs,target=/kept --mount=type=tmpfs,target=/new/one,size=65536 \
                     ls -A /kept /new/one > /seen && echo y > /kept/f && echo z > /new/one/f\n",
        ..CASE
    },
    Case {
        name: "secrets",
        dockerfile: "RUN --mount=type=secret,id=s stat -Lc '%a %u:%g %s' /run/secrets/s > /seen\n\
                     RUN --mount=type=secret,id=s,env=S test ${#S} = 11 && ! env | grep -q PLANTED\n\
                     RUN --mount=type=secret,id=s,target=/etc/x/s,mode=0444 wc -c /etc/x/s > /size\n\
                     RUN ! cat /run/secrets/s /etc/x/s\n",
        arguments: &["--secret=id=s,env=PLANTED_SECRET"],
        ..CASE
    },
    Case {
        name: "no_network",
        dockerfile: "ARG REGISTRY\nRUN --network=none ! wget -q -T 5 http://$REGISTRY/v2/ && echo x > /x\n\
                     RUN wget -q -O /y http://$REGISTRY/v2/\n",
        ..CASE
    },
    Case {
        name: "stages",
        dockerfile: "AS one\nRUN mkdir /o && echo 1 > /o/1 && ln -s 1 /o/l && rm /bin/ed && chmod 711 /o\n\
                     FROM one AS two\nRUN echo 2 > /o/2 && rm /o/1 && test ! -e /bin/ed\n\
                     FROM ${REGISTRY}/busybox\nCOPY --from=one /o /one/\nCOPY --from=two /o /two/\n\
                     COPY --from=two /o/l* /o/2 /links/\nRUN test -e /bin/ed && find /one /two | sort | xargs stat -c '%A %u:%g %N' > /seen\n\
                     COPY --from=one / /all/\nRUN rm -r /all/bin\n",
        ..CASE
    },
    Case {
        name: "copies",
        dockerfile: "COPY . /all/\nCOPY tree /tree/\nCOPY tree/sub/* file.txt /flat/\n\
                     COPY --parents ./tree/./sub/b d*/ /parents/\nCOPY --exclude=sub tree /some/\n\
                     COPY --link file.txt /linked/f\nCOPY --link tree /etc/\n\
                     RUN find /flat /parents | sort | xargs stat -c '%A %u:%g %N' > /seen; cat /linked/f\n",
        ..CASE
    },
    Case {
        name: "copies_with_modes_and_owners",
        dockerfile: "COPY --chmod=4751 file.txt /m/a\nCOPY --chmod=go=u,u+x tree /m/t/\n\
                     COPY --chown=www-data:users tree /o/names/\nCOPY --chown=1:2 --link tree /o/n/\n\
                     COPY --chown=65000 --chmod=600 file.txt /o/f\n\
                     ADD --chown=3:4 --chmod=640 script.sh /o/\nRUN find /m /o | sort | xargs stat -c '%A %u:%g %N' > /seen\n",
        refused: ONE_ID,
        ..CASE
    },
    Case {
        name: "archives",
        dockerfile: "ADD plain.tar.gz /one/\nADD plain.tar.gz tree /two/\n\
                     ADD --unpack=false plain.tar.gz /file\nRUN cp -a /one /three && rm -r /one/dir\n",
        ..CASE
    },
    Case {
        name: "archives_of_others",
        dockerfile: "ADD owned.tar /one/\nRUN mv /one /two && stat -c '%A %u:%g %N' /two/*\n",
        refused: ONE_ID,
        ..CASE
    },
    Case {
        name: "working_directories",
        dockerfile: "WORKDIR /a/b\nWORKDIR c\nRUN pwd > where\nWORKDIR /etc\nWORKDIR /\n\
                     RUN ln -s /a/b /link && chmod 700 /a\nWORKDIR /link/new\nRUN pwd -P > /where\n",
        ..CASE
    },
    Case {
        name: "triggers",
        dockerfile: "AS base\nONBUILD RUN echo $X $0 > /ran\nONBUILD COPY file.txt /copied\n\
                     ONBUILD WORKDIR /triggered\nENV X=x\n\
                     FROM base\nRUN cp /ran again && rm /ran\n",
        ..CASE
    },
    Case {
        name: "volumes",
        dockerfile: "RUN mkdir -p /v/old && echo old > /v/f\nVOLUME /v /w\nRUN echo new > /v/f; rm -r /v/old\n\
                     RUN mkdir -p /w && echo w > /w/f\nCOPY file.txt /v/\nVOLUME [\"/var/run\", \"/etc\"]\n\
                     RUN echo x > /etc/x && cat /v/f /v/file.txt /w/f > /seen\n",
        ..CASE
    },
    Case {
        name: "removals",
        dockerfile: "RUN rm /etc/group && rm -r /tmp /home && mv /usr/sbin /usr/moved\n\
                     RUN rm -r /usr && mkdir /usr && echo x > /usr/x && mkdir /tmp && echo y > /home\n\
                     RUN rm /home && ln -s /usr /home && echo z > /home/z && rm /usr/x\n\
                     RUN rm /etc/passwd && mkdir /etc/x && touch /etc/x/f && rm -r /sbin && mkdir -m 700 /sbin\n\
                     RUN rm -rf /etc/x /usr && mv /bin /moved && ln -s moved /bin\n",
        ..CASE
    },
    Case {
        name: "deep_paths",
        dockerfile: "RUN i=0; n=abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz12345678; d=/d; \
                     while [ $i -lt 40 ]; do d=$d/$n; i=$((i+1)); done; mkdir -p $d && echo x > $d/f && \
                     ln $d/f $d/g && ln -s $d/f /l && chmod 700 $d\n\
                     RUN echo y >> $(readlink /l) && mv /d /e\n",
        ..CASE
    },
    Case {
        name: "odd_names",
        dockerfile: "COPY odd /odd/\nRUN cd /odd && cp -r . /odd2 && echo x > \"$(printf 'n\\377\\n\\t ')\" && \
                     mkdir -- '-rf' '*' ' ' && touch './.wh' './whiteout.wh.x' && \
                     ln -s \"$(printf '\\376')\" \"$(printf '\\375')\" && rm -r /odd2/*\n",
        ..CASE
    },
    Case {
        name: "times",
        dockerfile: "RUN mkdir /t && touch -d '1980-01-01 00:00:00' /t/old && touch -d @0 /t/zero && \
                     touch -d '2037-01-01 00:00:00' /t/new && touch -d @86400 /t /tmp /etc/passwd\n\
                     COPY tree /t/tree/\nRUN cp -a /t /u && stat -c '%Y %n' /u/old /u/zero /tmp > /seen\n",
        ..CASE
    },
    Case {
        name: "sizes",
        dockerfile: "RUN dd if=/dev/zero of=/sparse bs=1 count=1 seek=33554431 2>/dev/null && : > /empty\n\
                     RUN seq 1 300000 > /numbers && yes | head -c 3000000 > /yes && cp /numbers /again\n\
                     RUN truncate -s 100 /numbers && mkdir /many && cd /many && \
                     for i in $(seq 1 1500); do echo $i > $i; done\n",
        ..CASE
    },
    Case {
        name: "steps_that_change_nothing",
        dockerfile: "RUN true\nRUN touch -r /etc/passwd /etc/passwd\nRUN echo x > /f && rm /f\n\
                     RUN chmod 644 /etc/passwd; mv /bin /b; /b/busybox mv /b /bin\n\
                     COPY *.none /nowhere/\nWORKDIR /etc\nENV A=1\nLABEL b=2\n\
                     RUN cat /etc/passwd > /p && cat /p > /etc/passwd\n",
        ..CASE
    },
    Case {
        name: "zstd_layers",
        base: "zstd",
        dockerfile: "RUN cat /z/kept > /seen && test ! -e /z/gone && rm -r /z/opaque\nCOPY file.txt /z/\n",
        ..CASE
    },
    Case {
        name: "devices_of_a_base_image",
        base: "devices",
        refused: &[
            (PodUnconfined, "device nodes cannot be made here"),
            (PodUserns, "device nodes cannot be made here"),
            (PodUsernsAdmin, "device nodes cannot be made here"),
            (UserWithIds, "device nodes cannot be made here"),
            (UserAlone, "device nodes cannot be made here"),
        ],
        dockerfile: "RUN stat -c '%F %t:%T %a' /nodes/* > /seen\nCOPY file.txt /\n",
        ..CASE
    },
    Case {
        name: "everything_of_a_base_image",
        base: "torture",
        dockerfile: "RUN mv /t /u\nRUN ls -R /u > /seen; cat /u/dir-to-link/through\n",
        refused: ONE_ID,
        ..CASE
    },
    Case {
        name: "wide_ids_of_a_base_image",
        base: "wide",
        dockerfile: "RUN mv /wide /moved\n",
        refused: &[
            (PodUserns, "3000000"),
            (PodUsernsAdmin, "3000000"),
            (UserWithIds, "3000000"),
            (UserAlone, "newuidmap"),
        ],
        ..CASE
    },
    Case {
        name: "packages",
        base: "debian:12",
        dockerfile: "ARG PACKAGES\nENV DEBIAN_FRONTEND=noninteractive\n\
                     RUN echo \"deb [trusted=yes] $PACKAGES ./\" > /etc/apt/sources.list && \
                     apt-get update && apt-get install -y --no-install-recommends libcap2-bin sudo cron\n\
                     RUN adduser --disabled-password --gecos '' --uid 4001 dev && \
                     echo 'dev ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/dev && \
                     cp /bin/cat /usr/local/bin/low && setcap cap_net_raw+ep /usr/local/bin/low && \
                     getcap /usr/local/bin/low > /caps && su dev -c 'id > ~/id && mkdir -m 700 ~/d'\n\
                     USER dev\nRUN /usr/local/bin/low /caps > ~/low && stat -c '%A %U %G' /usr/bin/* > ~/modes\n",
        refused: ONE_ID,
        logs: &["/var/log", "/var/cache", "/var/lib/apt"],
        ..CASE
    },
    Case {
        name: "packages_without_their_logs",
        base: "debian:12",
        dockerfile: "ARG PACKAGES\n\
                     RUN echo \"deb [trusted=yes] $PACKAGES ./\" > /etc/apt/sources.list && \
                     apt-get update && apt-get install -y --no-install-recommends libcap2-bin && \
                     rm -rf /var/log/* /var/cache/* /var/lib/apt/lists\n\
                     RUN groupadd -g 4000 team && useradd -m -u 4001 -g team -s /bin/bash dev && \
                     usermod -aG www-data dev && runuser -u dev -- sh -c 'id > ~/id; touch ~/f'\n",
        refused: ONE_ID,
        ..CASE
    },
];

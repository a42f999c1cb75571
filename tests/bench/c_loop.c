/* The floor: opens, reads and closes every /proc/<pid>/stat and does nothing else. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    char path[64], content[1024];
    long count = 0;
    struct dirent *entry;
    DIR *proc = opendir("/proc");
    if (!proc)
        return 3;
    while ((entry = readdir(proc))) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        snprintf(path, sizeof path, "/proc/%.20s/stat", entry->d_name);
        int handle = open(path, O_RDONLY);
        if (handle < 0)
            continue;
        if (read(handle, content, sizeof content) > 0)
            count++;
        close(handle);
    }
    closedir(proc);
    printf("%ld processes\n", count);
    return 0;
}

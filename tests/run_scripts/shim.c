/* A stand-in for python.exe and docker.exe that the tests of run_mlops.bat put on the PATH. It notes how it was
 * called in the file %SHIM_LOG%, one JSON object a line, and ends with the exit code that %SHIM_RULES% asks for.
 * Rules are separated by ";": "doctor.py=5;-m gazeta=wait" ends with 5 where the command line holds doctor.py, and
 * waits for Ctrl+C in the other case.
 *
 *   python stage.py run NAME ... --in FOLDER -- COMMAND   runs COMMAND in FOLDER, as the real stage.py does: a real
 *                                                         Windows Python takes seconds to start under Wine
 *   hold FILE                                             keeps FILE open as cmd.exe's 9>FILE does, until its stdin ends
 *
 * Build: x86_64-w64-mingw32-gcc -O2 -municode -o shim.exe shim.c
 */
#include <stdio.h>
#include <wchar.h>
#include <windows.h>

#define LONGEST 32768

static char line[4 * LONGEST];
static size_t length;

static void add(const char *text) { length += sprintf(line + length, "%s", text); }

static void add_json(const wchar_t *text) {
    char bytes[4 * MAX_PATH + 4096];
    WideCharToMultiByte(CP_UTF8, 0, text, -1, bytes, sizeof bytes, NULL, NULL);
    line[length++] = '"';
    for (const char *c = bytes; *c; c++) {
        if (*c == '"' || *c == '\\') line[length++] = '\\';
        line[length++] = *c;
    }
    line[length++] = '"';
}

static void note(const wchar_t *self, int argc, wchar_t **argv) {
    wchar_t path[LONGEST], cwd[LONGEST];
    DWORD written;
    if (!GetEnvironmentVariableW(L"SHIM_LOG", path, LONGEST)) return;
    GetCurrentDirectoryW(LONGEST, cwd);
    add("{\"program\": ");
    add_json(self);
    add(", \"cwd\": ");
    add_json(cwd);
    add(", \"argv\": [");
    for (int i = 1; i < argc; i++) {
        if (i > 1) add(", ");
        add_json(argv[i]);
    }
    add("], \"env\": {");
    static const wchar_t *names[] = {L"RECIPE", L"SOURCE_FILE"};
    for (int i = 0, any = 0; i < 2; i++) {
        if (!GetEnvironmentVariableW(names[i], cwd, LONGEST)) continue;
        if (any++) add(", ");
        add_json(names[i]);
        add(": ");
        add_json(cwd);
    }
    add("}}\n");
    HANDLE log = CreateFileW(path, FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_ALWAYS, 0, NULL);
    WriteFile(log, line, (DWORD)length, &written, NULL);
    CloseHandle(log);
}

static int by_rules(const wchar_t *command) {
    wchar_t rules[LONGEST];
    if (!GetEnvironmentVariableW(L"SHIM_RULES", rules, LONGEST)) return 0;
    for (wchar_t *rule = wcstok(rules, L";"); rule; rule = wcstok(NULL, L";")) {
        wchar_t *code = wcsrchr(rule, L'=');
        *code++ = 0;
        if (wcsstr(command, rule)) {
            if (!wcscmp(code, L"wait")) Sleep(60000);
            return _wtoi(code);
        }
    }
    return 0;
}

static BOOL WINAPI keep_going(DWORD event) { return event == CTRL_C_EVENT; }

static int run_stage(const wchar_t *self, int argc, wchar_t **argv) {
    wchar_t program[LONGEST], folder[LONGEST] = L".", *command = wcsstr(GetCommandLineW(), L" -- ") + 4;
    STARTUPINFOW start = {sizeof start};
    PROCESS_INFORMATION child;
    DWORD code;
    int i = 3;
    for (; i < argc && wcscmp(argv[i], L"--"); i++)
        if (!wcscmp(argv[i], L"--in")) wcscpy(folder, argv[i + 1]);
    const wchar_t *first = argv[i + 1];
    if (!wcscmp(first, L"python")) wcscpy(program, self);
    else if (wcspbrk(first, L"\\/")) swprintf(program, LONGEST, L"%ls\\%ls", folder, first);
    else if (!SearchPathW(NULL, first, L".exe", LONGEST, program, NULL)) return 5;
    SetConsoleCtrlHandler(keep_going, TRUE); /* Ctrl+C is for the command; we wait for its end */
    if (!CreateProcessW(program, command, NULL, NULL, TRUE, 0, NULL, folder, &start, &child)) {
        fprintf(stderr, "shim: cannot start %ls in %ls\n", program, folder);
        return 99;
    }
    WaitForSingleObject(child.hProcess, INFINITE);
    GetExitCodeProcess(child.hProcess, &code);
    return code == STATUS_CONTROL_C_EXIT ? 130 : (int)code;
}

int wmain(int argc, wchar_t **argv) {
    wchar_t self[LONGEST];
    GetModuleFileNameW(NULL, self, LONGEST);
    if (argc == 3 && !wcscmp(argv[1], L"hold")) {
        HANDLE file = CreateFileW(argv[2], GENERIC_WRITE, FILE_SHARE_READ, NULL, OPEN_ALWAYS, 0, NULL);
        puts(file == INVALID_HANDLE_VALUE ? "not held" : "held");
        fflush(stdout);
        while (getchar() != EOF) continue;
        return 0;
    }
    if (argc > 2 && !wcscmp(argv[1], L"stage.py") && !wcscmp(argv[2], L"run")) return run_stage(self, argc, argv);
    note(self, argc, argv);
    return by_rules(GetCommandLineW());
}
